"""Invented shards that a tiny model can learn, and tiny models of other families."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa

from diagnosis.notes import note_writer

WORDS = {
    "cardiac": ["chest pain", "pain chest", "pain chest pain"],
    "lung": ["cough", "fever cough", "cough fever"],
    "neuro": ["mother", "father mother", "mother father"],
}
CLASSES = sorted(WORDS)
FILLER = ["patient reports", "history of the", "denies no with", "and the", "exam of patient"]


def rows(count: int, *, seed: int = 0, classes: list[str] = CLASSES, multi_label: bool = False, pair: bool = False):
    """Notes with the words of their class among words of none; several classes where `multi_label`."""
    rng = random.Random(seed)
    for number in range(count):
        labels = [classes[number % len(classes)]]
        if multi_label and number % 2:
            labels = sorted({*labels, classes[(number + 1) % len(classes)]})
        parts = [rng.choice(WORDS[label]) for label in labels] + rng.sample(FILLER, rng.randint(1, 3))
        rng.shuffle(parts)
        yield {
            "note_id": f"n{seed}-{number}",
            "patient_id": f"p{seed}-{number}",
            "source": "toy",
            "text": rng.choice(FILLER) if pair else " ".join(parts),
            "text_pair": " ".join(parts) if pair else None,
            "labels": labels,
        }


def metadata(**changes) -> dict:
    return {
        "corpus": "toy",
        "task": "single_label",
        "text_pair": False,
        "data_use": {"corpus": "toy", "licence": "CC0-1.0 (invented)", "public": True},
        "official_split": False,
        "classes": CLASSES,
    } | changes


def write_table(path: Path, notes, meta: dict, weighted: bool = False) -> None:
    extra = [pa.field("weight", pa.float32())] if weighted else []
    with note_writer(path, meta, extra) as writer:
        writer.write({"weight": 1.0} | note if weighted else note for note in notes)


def write_training(
    folder: Path, model: Path, *, notes: int = 60, multi_label: bool = False, pair: bool = False
) -> None:
    """What finetune reads, in `folder`: a balanced train shard, a validation shard, a base model."""
    meta = metadata(task="multi_label" if multi_label else "single_label", text_pair=pair)
    prior = None if multi_label else [1 / 3] * 3
    options = {"multi_label": multi_label, "pair": pair}
    write_table(
        folder / "data/balanced.parquet",
        rows(notes, seed=1, **options),
        meta | {"train_prior": prior, "balanced_prior": prior},
        weighted=True,
    )
    write_table(folder / "data/split/validation.parquet", rows(24, seed=2, **options), meta)
    shutil.copytree(model, folder / "models/adapted")


def write_shards(folder: Path, *, multi_label: bool = False, pair: bool = False) -> None:
    """The shards that predict reads."""
    meta = metadata(task="multi_label" if multi_label else "single_label", text_pair=pair)
    for seed, name in enumerate(("validation", "calibration", "test"), start=2):
        notes = rows(10 + seed, seed=seed, multi_label=multi_label, pair=pair)
        write_table(folder / f"data/split/{name}.parquet", notes, meta)


def other_family(name: str, bert: Path, folder: Path) -> Path:
    """A tiny random model of another family, with the tokenizer of the tiny BERT `bert`."""
    import torch
    import transformers as hf

    shutil.copytree(bert, folder)
    for file in ("config.json", "model.safetensors"):
        (folder / file).unlink()
    size = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    common = {"vocab_size": size, "pad_token_id": 0, "max_position_embeddings": 128}
    width = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    model = {
        "roberta": lambda: hf.RobertaModel(
            hf.RobertaConfig(**common | width | {"type_vocab_size": 1, "pad_token_id": 1})
        ),
        "distilbert": lambda: hf.DistilBertModel(
            hf.DistilBertConfig(**common, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
        ),
        "modernbert": lambda: hf.ModernBertModel(hf.ModernBertConfig(**common | width)),
        # A decoder with fewer heads of keys and values, and without padding in its config.
        "llama": lambda: hf.LlamaModel(
            hf.LlamaConfig(**common | width | {"num_key_value_heads": 1, "pad_token_id": None})
        ),
    }[name]()
    model.save_pretrained(folder)
    return folder
