"""The pages agree with the repository: links lead somewhere, the picture of the pipeline and the tables name its stages."""

import re

from conftest import ROOT
from test_contract import STAGES, covers, declared

PAGES = [ROOT / "README.md", ROOT / "keys/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_links_lead_to_files():
    broken = [
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


def test_the_picture_is_the_pipeline():
    """Every arrow of README's picture but those into publish and report, which read every metrics file."""
    (picture,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    drawn = set()
    for line in picture.splitlines()[1:]:
        names = re.split(r" -- \w+ --> | --> ", line.strip())
        drawn |= set(zip(names, names[1:], strict=False))
    written = {
        name: [p for kind in ("outs", "metrics", "plots") for p in declared(STAGES[name], kind)] for name in STAGES
    }
    real = {
        (other, name)
        for name in STAGES
        for dep in declared(STAGES[name], "deps")
        for other in STAGES
        if any(covers(out, dep) for out in written[other])
    }
    assert drawn <= real
    assert drawn >= {edge for edge in real if edge[1] not in ("publish", "report")}


def test_tables_name_every_stage():
    for page in ("README.md", "docs/architecture.md"):
        rows = re.findall(r"^\| (\w+) \|", (ROOT / page).read_text(), flags=re.M)
        assert [name for name in rows if name in STAGES] == list(STAGES), page


def test_no_page_has_a_hole():
    holes = [
        (page.name, word)
        for page in PAGES
        for word in re.findall(r"^(?:[A-Z]{6,})$|TODO|FIXME", page.read_text(), flags=re.M)
    ]
    assert not holes
