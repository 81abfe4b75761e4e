"""What markup of notes and articles must not lose or change: text behind a <head> left open, numbers that are raised."""

from xml.etree.ElementTree import fromstring

import pytest
from test_fhir import document, ndjson, read

from diagnosis.corpora.pmc import open_pmc
from diagnosis.corpora.xml_records import xml_text
from diagnosis.data_use import DataUse


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<html><head><title>no</title><body><p>Fever</p><script>no</script>Cough", "Fever\nCough"),
        ("<p>WBC 12 x 10<sup>9</sup>/L, H<sub>2</sub>O, 25<sup>th</sup></p>", "WBC 12 x 10^9/L, H2O, 25th"),
    ],
)
def test_html_of_a_note(tmp_path, html, expected):
    ndjson(tmp_path / "n.ndjson", [document("n", "p", html, kind="text/html")])
    rows, _ = read(tmp_path, unlabelled=True)
    assert rows["DocumentReference/n"]["text"] == expected


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<p>10<sup>-<italic>9</italic></sup> mol</p>", "10^-9 mol"),
        ("<p>in 2010<sup><xref>3</xref>,<xref>4</xref></sup> we</p>", "in 2010^3,4 we"),
        ("<p>10<sup>9</sup>/L, 25<sup>th</sup></p>", "10^9/L, 25th"),
    ],
)
def test_a_raised_number_is_no_part_of_the_one_before(xml, expected):
    assert xml_text(fromstring(xml)) == expected


def test_one_article_that_forbids_commercial_use_forbids_it_for_all(tmp_path):
    front = "<front><article-meta><permissions><license><license-p>http://creativecommons.org/licenses/{}/4.0/</license-p></license></permissions></article-meta></front>"
    for name, terms in (("a", "by"), ("b", "by-nc-nd")):
        (tmp_path / f"{name}.nxml").write_text(f"<article>{front.format(terms)}<body><p>x</p></body></article>")
    assert DataUse.of(open_pmc(tmp_path).data_use).commercial_use == "no"
    assert DataUse.of(open_pmc(tmp_path / "a.nxml").data_use).commercial_use != "no"
