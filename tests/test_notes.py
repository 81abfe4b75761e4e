"""The note table: whole or absent, the same in batches of any size, and refused by every stage where it is spoilt."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_deidentify
from scored import write_predictions
from toy import CLASSES, metadata, rows, write_table

from diagnosis import notes
from diagnosis.errors import UserError
from diagnosis.files import read_json, write_json
from diagnosis.notes import SCHEMA, note_writer, open_notes, read_frame, read_metadata, read_notes

TABLE = Path("data/notes.parquet")
PROVENANCE = [pa.field("augmented_from", pa.string()), pa.field("operators", pa.list_(pa.string()))]


def spoil(path: Path, column: str, spoilt) -> None:
    """Rewrite a table with `spoilt(values)`, an array, in place of a column, which then may hold nulls."""
    table = pq.read_table(path)
    pq.write_table(
        table.set_column(table.schema.get_field_index(column), column, spoilt(table[column].to_pylist())), path
    )


def a_null(values: list) -> pa.Array:
    """The last value is missing; all have the type of the column."""
    return pa.array([*values[:-1], None], type=pa.array(values).type)


def joined(values: list) -> pa.Array:
    return pa.array([";".join(labels) for labels in values])


# ---------------------------------------------------------------- notes.py


def test_what_is_written_is_read(folder):
    given = {"corpus": "é", "data_use": {"public": True, "licence": None}, "classes": ["b", "a"], "prior": [0.1, 1e-9]}
    whole = {field.name: [field.name] if field.name == "labels" else field.name for field in SCHEMA}
    sparse = {"note_id": "1", "source": "s", "text": "é\n\x00", "labels": []}
    with note_writer(TABLE, given, PROVENANCE) as writer:
        writer.write([whole])
        writer.write(iter([sparse, sparse | {"augmented_from": "1"}]))
    assert read_metadata(TABLE) == given
    nulls = dict.fromkeys([*SCHEMA.names, "augmented_from", "operators"])
    assert list(read_notes(TABLE)) == [[nulls | whole, nulls | sparse, nulls | sparse | {"augmented_from": "1"}]]
    assert list(read_notes(TABLE, ["labels", "text"]))[0][1] == {"labels": [], "text": "é\n\x00"}
    frame = read_frame(TABLE, ["note_id", "sex"])
    assert frame["note_id"].to_list() == ["note_id", "1", "1"] and frame["sex"].isna().to_list() == [False, True, True]


def test_a_write_that_fails_midway_leaves_the_old_table_and_nothing_aside(folder, monkeypatch):
    monkeypatch.setattr(notes, "BATCH_ROWS", 7)
    write_table(TABLE, rows(5), metadata())
    old = TABLE.read_bytes()

    def failing():
        yield from rows(20)  # two batches are written by then
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_table(TABLE, failing(), metadata())
    with pytest.raises(pa.ArrowInvalid):
        write_table(TABLE, [*rows(20), next(rows(1)) | {"text": None}], metadata())
    assert TABLE.read_bytes() == old and list(TABLE.parent.iterdir()) == [TABLE]


def test_bytes_depend_on_the_rows_and_not_on_how_they_come(folder, monkeypatch):
    monkeypatch.setattr(notes, "BATCH_ROWS", 7)
    write_table(TABLE, rows(30), metadata())
    at_once = TABLE.read_bytes()
    with note_writer(TABLE, dict(reversed(metadata().items()))) as writer:
        for row in rows(30):
            writer.write([row])
    assert TABLE.read_bytes() == at_once
    assert [len(batch) for batch in read_notes(TABLE)] == [7, 7, 7, 7, 2]


@pytest.mark.parametrize(
    ("spoil_it", "line"),
    [
        (TABLE.unlink, "data/notes.parquet does not exist"),
        (lambda: TABLE.write_bytes(TABLE.read_bytes()[:-9]), "data/notes.parquet is not a readable Parquet file"),
        (lambda: (TABLE.unlink(), TABLE.mkdir()), "data/notes.parquet is not a readable Parquet file"),
        (lambda: pq.write_table(pq.read_table(TABLE).drop_columns(["sex", "text"]), TABLE), "lacks the columns text, sex of"),
        (lambda: spoil(TABLE, "note_id", a_null), "data/notes.parquet: a note has no note_id: run `dvc repro`"),
        (lambda: spoil(TABLE, "source", a_null), "a note has no source"),
        (lambda: spoil(TABLE, "text", a_null), "a note has no text"),
        (lambda: spoil(TABLE, "labels", a_null), "a note has no labels"),
        (lambda: spoil(TABLE, "labels", joined), "column labels is string, not list<item: string>"),
        (lambda: spoil(TABLE, "note_id", lambda ids: pa.array(range(len(ids)))), "column note_id is int64, not string"),
        (lambda: spoil(TABLE, "text", lambda texts: pa.array(t.encode() for t in texts)), "column text is binary, not string"),
        (lambda: spoil(TABLE, "sex", pa.array), "column sex is null, not string"),
    ],
)  # fmt: skip
def test_every_reader_refuses_what_is_no_note_table(folder, monkeypatch, spoil_it, line):
    monkeypatch.setattr(notes, "BATCH_ROWS", 7)
    write_table(TABLE, rows(30), metadata())
    spoil_it()
    for read in (open_notes, read_metadata, lambda path: list(read_notes(path, ["sex"])), read_frame):
        with pytest.raises(UserError) as error:
            read(TABLE)
        assert line in str(error.value) and "\n" not in str(error.value)


def test_a_table_rewritten_by_other_means_is_read_where_nothing_is_missing(folder):
    write_table(TABLE, [row | {"labels": []} for row in rows(3)], metadata())
    for field in SCHEMA:
        spoil(TABLE, field.name, lambda values, kind=field.type: pa.array(values, kind))
    assert all(field.nullable for field in pq.read_schema(TABLE))
    assert list(read_frame(TABLE)["text"]) == [row["text"] for row in rows(3)]


# ---------------------------------------------------------------- every stage that reads a note table


def write_inputs(folder: Path) -> None:
    """Sound tables for every stage that reads them; models aside."""
    priors = {"train_prior": [1 / 3] * 3, "balanced_prior": [1 / 3] * 3}
    for name in ("notes", "deidentified", "clean"):
        write_table(folder / f"data/{name}.parquet", rows(30), metadata())
    with note_writer(folder / "data/augmented.parquet", metadata(), PROVENANCE) as writer:
        writer.write(rows(30))
    write_table(folder / "data/balanced.parquet", rows(30), metadata(**priors), weighted=True)
    predicted = []
    for seed, name in enumerate(("train", "validation", "calibration", "test")):
        write_table(folder / f"data/split/{name}.parquet", rows(30, seed=seed), metadata())
        predicted += [
            {name: note[name] for name in ("note_id", "patient_id", "labels")}
            | {"shard": name, "model": "model", "probabilities": [0.5, 0.25, 0.25]}
            for note in rows(30, seed=seed)
        ]
    write_predictions(folder / "data/predictions.parquet", predicted, classes=CLASSES)
    calibrated = [row | {"model": "calibrated"} for row in predicted]
    write_predictions(folder / "data/calibrated.parquet", calibrated, classes=CLASSES)


READ = [
    ("deidentify", "notes"),
    ("clean", "deidentified"),
    ("split", "clean"),
    ("augment", "split/train"),
    ("rebalance", "augmented"),
    ("finetune", "balanced"),
    ("finetune", "split/validation"),
    *(("baseline", f"split/{name}") for name in ("train", "validation", "calibration", "test")),
    *(("predict", f"split/{name}") for name in ("validation", "calibration", "test")),
    *(("audit_fairness", f"split/{name}") for name in ("validation", "test")),
]


@pytest.mark.parametrize(
    ("column", "spoilt", "says"),
    [("text", a_null, "a note has no text"), ("labels", joined, "column labels is string, not list<item: string>")],
    ids=["null", "type"],
)
@pytest.mark.parametrize(("name", "table"), READ, ids=lambda value: value.replace("/", "-"))
def test_a_spoilt_table_is_one_line_and_no_output(stage, folder, tiny_model, name, table, column, spoilt, says):
    write_inputs(folder)
    if name == "predict":
        from test_predict import write_model

        write_model(folder, tiny_model)
    spoil(folder / f"data/{table}.parquet", column, spoilt)
    before = {path for path in folder.rglob("*") if path.is_file()}
    code, line = stage(name, {"bootstrap_samples": 20} if name == "audit_fairness" else {})
    assert (code, line) == (1, f"error: data/{table}.parquet: {says}: run `dvc repro`")
    assert {path for path in folder.rglob("*") if path.is_file()} - before == {folder / "params.yaml"}


# ---------------------------------------------------------------- from stage to stage


def flow(stage, *, start: str = "deidentify") -> dict[str, list]:
    """The stages that stream, one after the other; what they wrote, by file."""
    changes = {
        "deidentify": {},
        "clean": {},
        "split": {"min_notes_per_class": 3},
        "augment": {"copies": 2, "rate": 0.3},
        "rebalance": {"method": "oversample"},
        "predict": {"threads": 1, "batch_size": 1},  # alone: what a note is padded with moves the last bits
    }
    for name in list(changes)[list(changes).index(start) :]:
        if name == "predict":  # the model that lies there is taken to have learnt from these notes
            card = Path("models/finetuned/diagnosis.json")
            prepared = read_metadata(Path("data/split/train.parquet"))["preprocessing"]
            write_json(card, read_json(card) | {"preprocessing": prepared})
        assert stage(name, changes[name]) == (0, ""), name
    files = sorted(Path("data").rglob("*.parquet")), sorted(Path("metrics").glob("*.json"))
    return {str(path): pq.read_table(path).to_pylist() for path in files[0]} | {
        str(path): [read_json(path)] for path in files[1]
    }


def test_batches_of_seven_give_what_one_batch_gives(stage, folder, tiny_model, monkeypatch):
    from test_predict import write_model

    text = "\nThe dyspnea came slowly over the house. Seen by Dr. Quibblethorpe on 03/14/2019.{}"
    given = [
        note | {"text": note["text"] + text.format(f" Patient name: Zebulon{i}" if i == 0 else ""), "patient_id": f"p{i % 20}"}
        for i, note in enumerate(rows(60))
    ]  # fmt: skip
    first, last = given[0], given[-1]
    gold = [(n["note_id"], n["text"].index("Quib"), n["text"].index(" on 03"), "NAME", None) for n in (first, last)]
    test_deidentify.write(given, gold)
    write_model(folder, tiny_model)
    whole = flow(stage)
    assert len(whole["data/balanced.parquet"]) > len(whole["data/split/train.parquet"]) > 7

    monkeypatch.setattr(notes, "BATCH_ROWS", 7)
    in_batches = flow(stage)
    for name in ("deidentified", "clean", "split/train", "augmented", "balanced"):
        assert pq.ParquetFile(f"data/{name}.parquet").num_row_groups > 1
    assert in_batches.keys() == whole.keys()
    for path, content in whole.items():
        assert in_batches[path] == content, path


LONG = "The patient reports chest pain. " * (5_000_000 // 32)


def test_a_note_of_5_mb_from_clean_notes_to_the_balanced_ones_and_the_baseline(stage, folder):
    given = [note | {"text": LONG + note["text"]} if note["note_id"] in ("n0-0", "n0-1") else note for note in rows(60)]
    write_table(folder / "data/clean.parquet", given, metadata())
    assert stage("split", {"min_notes_per_class": 3}) == (0, "")
    shards = {name: pq.read_table(f"data/split/{name}.parquet").to_pylist() for name in ("train", "validation", "test")}
    assert {note["note_id"]: note["text"] for shard in shards.values() for note in shard}["n0-0"] == given[0]["text"]

    # Wherever they fell: one in the train shard, one in a shard that is scored.
    train = [given[0], *(note for note in shards["train"] if len(note["text"]) < 1000)]
    scored = [given[1], *(note for note in shards["test"] if len(note["text"]) < 1000)]
    write_table(folder / "data/split/train.parquet", train, metadata())
    write_table(folder / "data/split/test.parquet", scored, metadata())
    (folder / "data/titles.json").write_text("{}")
    assert stage("augment") == stage("rebalance", {"method": "oversample"}) == stage("baseline") == (0, "")
    balanced = pq.read_table("data/balanced.parquet").to_pylist()
    assert [note["text"] for note in balanced if note["note_id"] == "n0-0"] == [given[0]["text"]]
    table = pq.read_table("data/baseline.parquet").to_pylist()
    (row,) = (row for row in table if row["note_id"] == "n0-1" and row["model"] == "tfidf_logreg")
    assert CLASSES[max(range(3), key=row["probabilities"].__getitem__)] == "cardiac"
