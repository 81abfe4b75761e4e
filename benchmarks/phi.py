"""De-identification rules beside presidio-analyzer on the same notes, in one run: docs/results.md and benchmarks/phi.json.

    python -m benchmarks.phi --presidio .venv-benchmarks/bin/python    # see requirements-benchmarks.txt; ten minutes on one core

Words are counted as in metrics/deidentify.json: type-blind, a word is found when a span touches it. Misses are listed by note and kind, never by text.
"""

import argparse
import csv
import gzip
import json
import os
import re
import resource
import statistics
import subprocess
import tarfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from benchmarks.phi_notes import SETS, Note, draw_notes
from benchmarks.phi_terms import clinical_tokens
from diagnosis.errors import UserError, run
from diagnosis.files import require, write_json
from diagnosis.phi.detector import find
from diagnosis.phi.identifiers import MASKS
from diagnosis.phi.names import COUNTRIES, STATES
from diagnosis.phi.score import TOKEN, touched_words
from diagnosis.phi.spans import Span
from diagnosis.scores.evidence import clopper_pearson

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data"))
RESULTS, PAGE = ROOT / "benchmarks" / "phi.json", ROOT / "docs" / "results.md"
BEGIN, END = "<!-- section of benchmarks/phi.py -->", "<!-- end of section -->"
REPORTED = list(SETS)[-1]  # the set that no rule was mended by
NOTES, SEED, REPEATS, TIMED = 2_000, 31, 3, 20
KINDS = {  # of presidio-research; TITLE, NRP and ORGANIZATION are no identifiers of HIPAA's (an employer's name is, but which is one?)
    "PERSON": "NAME", "STREET_ADDRESS": "PLACE", "GPE": "PLACE", "CREDIT_CARD": "ACCOUNT", "DATE_TIME": "DATE", "PHONE_NUMBER": "PHONE",
    "AGE": "AGE", "EMAIL_ADDRESS": "EMAIL", "ZIP_CODE": "PLACE", "DOMAIN_NAME": "URL", "IBAN_CODE": "ACCOUNT", "US_SSN": "SSN",
    "IP_ADDRESS": "IP", "US_DRIVER_LICENSE": "LICENCE",
}  # fmt: skip
SPANISH = {  # of MEDDOCAN; PAIS, SEXO, PROFESION and FAMILIARES are none of HIPAA's
    "NOMBRE_SUJETO_ASISTENCIA": "NAME", "NOMBRE_PERSONAL_SANITARIO": "NAME", "TERRITORIO": "PLACE", "CALLE": "PLACE", "HOSPITAL": "PLACE",
    "INSTITUCION": "PLACE", "CENTRO_SALUD": "PLACE", "FECHAS": "DATE", "EDAD_SUJETO_ASISTENCIA": "AGE", "NUMERO_TELEFONO": "PHONE",
    "NUMERO_FAX": "FAX", "CORREO_ELECTRONICO": "EMAIL", "URL_WEB": "URL", "ID_SUJETO_ASISTENCIA": "MRN", "ID_ASEGURAMIENTO": "PLAN",
    "ID_TITULACION_PERSONAL_SANITARIO": "LICENCE", "ID_EMPLEO_PERSONAL_SANITARIO": "OTHER_ID", "ID_CONTACTO_ASISTENCIAL": "OTHER_ID",
    "IDENTIF_VEHICULOS_NRSERIE_PLACAS": "VEHICLE", "IDENTIF_DISPOSITIVOS_NRSERIE": "DEVICE",
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presidio", default=os.environ.get("PHI_PRESIDIO"), metavar="PYTHON",
                        help="the Python of an environment with requirements-benchmarks.txt (or the variable PHI_PRESIDIO)")  # fmt: skip
    python = parser.parse_args().presidio
    if not python or not Path(python).exists():
        raise UserError(
            f"presidio's Python {python or ''} is not there: see requirements-benchmarks.txt, and give it by --presidio"
        )
    require(DATA, "set DIAGNOSIS_DATA to the folder of the open data")
    corpora = {name: list(draw_notes(name, NOTES if name == REPORTED else 500, SEED)) for name in SETS}
    corpora |= {f"presidio-research, {half}": list(research(half)) for half in ("developed on", "held out")}
    corpora["meddocan"] = list(meddocan())
    timed = [text[:3_000] for text in mtsamples() if len(text) >= 3_000][:TIMED]

    compared = [REPORTED, "presidio-research, held out"]
    theirs, their_seconds = presidio(python, {name: corpora[name] for name in compared}, timed)
    our_seconds = [seconds_of(timed) for _ in range(REPEATS)]
    results = {
        "notes": {
            name: measures(notes, [find(n.text) for n in tqdm(notes, name)], misses=name != "meddocan")
            for name, notes in corpora.items()
        },
        "presidio": {name: measures(corpora[name], spans, misses=False) for name, spans in theirs.items()},
        "over_redaction": {
            name: over_redaction(texts()) for name, texts in (("mtsamples", mtsamples), ("negex", negex))
        },
        "speed": {
            "rules": TIMED / statistics.median(our_seconds),
            "presidio": {name: TIMED / statistics.median(each) for name, each in their_seconds.items()},
        },
        "megabytes": {str(count): alone(count) for count in (500, 3_000)},
        "reported": REPORTED,
    }
    write_json(RESULTS, results)
    write_page(results)


# ---------------------------------------------------------------- the notes


def research(half: str):
    """presidio-research's sentences: even templates were developed on, odd ones are held out."""
    rows = json.loads((DATA / "deid_presidio" / "synth_dataset_v2.json").read_text("utf-8"))
    for number, row in enumerate(rows):
        if row["template_id"] % 2 == (half == "held out"):
            gold = [(Span(s["start_position"], s["end_position"], research_kind(s)), None) for s in row["spans"]]
            yield Note(f"{row['template_id']}-{number}", row["full_text"], gold)


def research_kind(span: dict) -> str:
    """The HIPAA kind, "" for what is none: years alone, weekdays, ages to 89, states and countries."""
    value, kind = span["entity_value"], KINDS.get(span["entity_type"], "")
    if kind == "DATE" and not re.search(r"\d[-/. ]\d|\d,? \w+|\w+ \d", value):
        return ""
    if kind == "AGE" and not (value.isdigit() and int(value) > 89):
        return ""
    words = [word.lower() for word in TOKEN.findall(value)]
    return (
        ""
        if span["entity_type"] == "GPE"
        and all(word in STATES | COUNTRIES | {"new", "south", "north", "united"} for word in words)
        else kind
    )


def meddocan():
    with tarfile.open(DATA / "deid_meddocan" / "meddocan_dev_brat.tar.gz") as archive:
        files = {
            m.name: archive.extractfile(m).read().decode("utf-8")
            for m in archive
            if m.isfile() and m.name.endswith((".txt", ".ann"))
        }
    for name in sorted(n for n in files if n.endswith(".txt")):
        gold = []
        for line in files[name[:-4] + ".ann"].splitlines():
            if line.startswith("T"):
                kind, start, *_, end = line.split("\t")[1].replace(";", " ").split()
                kind = SPANISH.get(kind, "")
                age = re.search(r"\d+", files[name][int(start) : int(end)])
                if kind == "AGE" and not (age and int(age[0]) > 89):
                    kind = ""
                gold.append((Span(int(start), int(end), kind), None))
        yield Note(Path(name).stem, files[name], gold)


def mtsamples() -> list[str]:
    csv.field_size_limit(10**9)
    with gzip.open(DATA / "mtsamples" / "mtsamples.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        return sorted({row["transcription"] for row in csv.DictReader(stream) if row["transcription"]})


def negex() -> list[str]:
    lines = (DATA / "negex" / "Annotations-1-120.txt").read_text("latin-1").splitlines()[1:]
    return sorted({line.split("\t")[2] for line in lines if line.count("\t") >= 3})


# ---------------------------------------------------------------- measuring


def measures(notes: list[Note], found: list, misses: bool = True) -> dict:
    """Recall, precision and clean notes with exact intervals, recall by kind and origin, and each miss as "note kind words"."""
    totals, kinds, origins, missed = Counter(), {}, {}, []
    for note, spans in zip(notes, found, strict=True):
        touched = touched_words(note.text, [Span(*span) for span in spans])
        planted, neutral = set(), set()
        for span, origin in note.gold:
            words = touched_words(note.text, [span])
            if not span.kind:
                neutral |= words
                continue
            planted |= words
            tallies = [kinds.setdefault(span.kind, Counter())]
            if span.kind == "NAME" and origin:
                tallies.append(origins.setdefault(origin, Counter()))
            for tally in tallies:
                tally.update(words=len(words), hit=len(words & touched))
            if words - touched:
                missed.append(f"{note.id} {span.kind} {len(words - touched)}")
        counted = touched - (neutral - planted)
        totals.update(words=len(planted), hit=len(planted & touched), touched=len(counted), right=len(planted & counted),
                      notes=bool(planted), clean=bool(planted) and planted <= touched)  # fmt: skip
    by_origin = {name: t["hit"] / t["words"] for name, t in sorted(origins.items())}
    return {
        "notes": len(notes),
        "words": totals["words"],
        "recall": totals["hit"] / totals["words"],
        "precision": totals["right"] / totals["touched"],
        "clean": interval(totals["clean"], totals["notes"]),
        "by_kind": {name: t["hit"] / t["words"] for name, t in sorted(kinds.items())},
        "by_origin": by_origin or None,
        "origin_gap": max(by_origin.values()) - min(by_origin.values()) if by_origin else None,
        "misses": missed if misses else len(missed),
    }


def interval(hits: int, of: int) -> dict:
    """Clopper and Pearson (1934), 95 %."""
    return {"value": hits / of, **clopper_pearson(hits, of)}


def over_redaction(texts: list[str]) -> dict:
    """Clinical tokens that are touched, by group, and the share of all words; marks of earlier de-identification are no words."""
    groups, hit, words, touched = Counter(), Counter(), 0, 0
    for text in tqdm(texts, "over-redaction"):
        spans = find(text)
        covered = bytearray(len(text))
        for span in spans:
            covered[span.start : span.end] = b"\1" * (span.end - span.start)
        marks = [match.span() for match in MASKS.finditer(text)]
        for group, start, end in clinical_tokens(text):
            if not any(low <= start < high for low, high in marks):
                groups[group] += 1
                hit[group] += any(covered[start:end])
        words += len(TOKEN.findall(text))
        touched += len(touched_words(text, spans))
    return {
        "clinical_tokens": sum(groups.values()),
        "share": sum(hit.values()) / sum(groups.values()),
        "by_group": {group: hit[group] / count for group, count in sorted(groups.items())},
        "share_of_all_words": touched / words,
    }


def presidio(python: str, corpora: dict[str, list[Note]], timed: list[str]) -> tuple[dict, dict]:
    texts = [note.text for notes in corpora.values() for note in notes]
    job = json.dumps({"texts": texts, "timed": timed, "repeats": REPEATS})
    done = subprocess.run(
        [python, str(ROOT / "benchmarks" / "phi_presidio.py")], input=job, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"{python} could not run presidio-analyzer: install requirements-benchmarks.txt there")
    answer = json.loads(done.stdout)
    spans = iter(answer["spans"])
    return {name: [next(spans) for _ in notes] for name, notes in corpora.items()}, answer["seconds"]


def seconds_of(texts: list[str]) -> float:
    start = time.process_time()
    for text in texts:
        find(text)
    return time.process_time() - start


def alone(count: int) -> float:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak, count).result()


def peak(count: int) -> float:
    """Megabytes at the peak of a process that looks through so many notes."""
    for note in draw_notes(REPORTED, count, SEED):
        find(note.text)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---------------------------------------------------------------- the page


def write_page(results: dict) -> None:
    """Put the tables between the marks of docs/results.md; the prose around them stays."""
    rows = [
        "| notes | words | who | recall | precision | notes clean (95 %) | gap between name origins |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, ours in results["notes"].items():
        label = (
            f"{name} set (reported)"
            if name == results["reported"]
            else f"{name} set (rules mended by it)"
            if name in SETS
            else name
        )
        rows.append(row(label, "rules", ours))
        if name in results["presidio"]:
            rows.append(row("the same", "presidio-analyzer", results["presidio"][name]))
    rows += [
        "",
        "| clinical tokens touched | eponyms | drugs | anatomy | values | may and will | all | of all words |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in results["over_redaction"].items():
        shares = [
            one["by_group"].get(group, 0.0) for group in ("eponyms", "drugs", "anatomy", "values", "may and will")
        ]
        rows.append(
            f"| {name} ({one['clinical_tokens']:,}) | "
            + " | ".join(f"{s:.3%}" for s in [*shares, one["share"], one["share_of_all_words"]])
            + " |"
        )
    speed = results["speed"]
    ratios = {name: speed["rules"] / each for name, each in speed["presidio"].items()}
    rows += ["", f"Speed on notes of 3,000 characters, median of {REPEATS}: rules {speed['rules']:.0f} notes/s, presidio-analyzer "
             f"{speed['presidio']['with_us']:.0f} ({ratios['with_us']:.1f} times slower; {speed['presidio']['default']:.0f} and {ratios['default']:.1f} with its "
             "default recognisers). Memory at the peak: " + ", ".join(f"{mb:.0f} MB after {int(n):,} notes" for n, mb in results["megabytes"].items()) + "."]  # fmt: skip
    head, rest = PAGE.read_text("utf-8").split(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + "\n".join(rows) + "\n" + END + rest.split(END)[1], "utf-8")


def row(name: str, who: str, one: dict) -> str:
    clean, gap = one["clean"], one["origin_gap"]
    return (
        f"| {name} ({one['notes']:,}) | {one['words']:,} | {who} | {one['recall']:.4f} | {one['precision']:.4f} "
        f"| {clean['value']:.3f} ({clean['low']:.3f} to {clean['high']:.3f}) | {'–' if gap is None else f'{gap:.4f}'} |"
    )


if __name__ == "__main__":
    run(main)
