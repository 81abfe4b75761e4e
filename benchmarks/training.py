"""Fine-tuning beside a plain Trainer script, padded and with dynamic padding, in one run; the tables of docs/benchmarks.md.

    python -m benchmarks.training    # about 35 minutes on 2 idle cores; on a GPU, where there is one, that part instead

On a CPU: models/base (of the default run) and the abstracts of medical_abstracts that fit into 512 tokens; on a GPU a
random model of BERT-base's shape on the same abstracts. All sides share the model, the adapters or their absence, notes,
steps, batch size, optimiser, schedule and precision; dropout is 0 for all but a variant. Seconds are from a training's first step to its
last, so no side's tokenising, scoring or saving is in them. Medians of 3, the sides taking turns.
"""

import os
import random
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa
import torch
import transformers
from datasets import Dataset
from ruamel.yaml import YAML
from tqdm import tqdm
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments, default_data_collator

from diagnosis.corpora.corpus import Tally
from diagnosis.corpora.medical_abstracts import open_medical_abstracts
from diagnosis.errors import UserError, run
from diagnosis.notes import note_writer
from diagnosis.training.dataset import Collator, read_dataset
from diagnosis.training.device import prepare_device
from diagnosis.training.methods import adapt_model
from diagnosis.training.model import load_base
from diagnosis.training.tokens import on_device, pad, tokenise
from diagnosis.training.trainer import make_trainer
from diagnosis.training.unpadded import first_position, joined, unpad
from stages.finetune import FinetuneParams

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DIAGNOSIS_DATA", ROOT.parent / "shared" / "data")) / "medical_abstracts"
BASE = ROOT / "models" / "base"
SEED, TOKENS, REPEATS = 7, 512, 3
PADDED, DYNAMIC, OURS, UNPADDED = "Trainer, padded to 512", "Trainer, dynamic padding", "finetune", "finetune, unpadded"
COMPILED = "finetune, unpadded, compiled"
VARIANTS = {"finetune, all weights": {"method": "full"}, "finetune, dropout as the base states": {"body_dropout": None}}
BERT_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
MODERNBERT_BASE = {
    "vocab_size": 50368,
    "hidden_size": 768,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "intermediate_size": 1152,
    "max_position_embeddings": 8192,
}
LONG_NOTES = [8192, 5000, 2500, 1200]  # tokens; the memory of one step


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if not DATA.is_dir():
        raise UserError(f"the abstracts are not at {DATA}: set DIAGNOSIS_DATA to the folder of the open data")
    if not BASE.is_dir():
        raise UserError(f"{BASE} does not exist: run `dvc repro fetch_model`")
    with tempfile.TemporaryDirectory() as folder:
        if torch.cuda.is_available():
            on_gpu(Path(folder))
        else:
            on_cpu(Path(folder))


# ---- what is compared


@dataclass
class Bench:
    """The notes and the values that all sides share."""

    folder: Path
    base: Path
    params: FinetuneParams
    notes: int
    texts: list[str] = field(init=False)
    labels: list[int] = field(init=False)
    classes: list[str] = field(init=False)
    tokens: int = field(init=False)
    metadata: dict = field(init=False)

    def __post_init__(self):
        corpus = open_medical_abstracts(DATA)
        rows = [row for row in corpus.rows(Tally()) if row["split"] == "train"]
        random.Random(SEED).shuffle(rows)
        self.classes = sorted({row["labels"][0] for row in rows})
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.base)
        longest = self.params.max_tokens
        fitting = (row for row in rows if tokenise(tokenizer, [row["text"]], None, longest)[2][0] <= longest)
        kept = list(islice(fitting, self.notes))
        self.texts = [row["text"] for row in kept]
        self.labels = [self.classes.index(row["labels"][0]) for row in kept]
        self.tokens = int(tokenise(tokenizer, self.texts, None, longest)[2].sum())
        self.metadata = {
            "classes": self.classes,
            "task": "single_label",
            "text_pair": False,
            "data_use": corpus.data_use,
        }
        with note_writer(self.folder / "notes.parquet", self.metadata, [pa.field("weight", pa.float32())]) as writer:
            writer.write({**row, "patient_id": row["note_id"], "weight": 1.0} for row in kept)

    def model(self, dropout: float | None = 0.0):
        """(model, tokenizer), the same weights at each call; no dropout in the head, for the sides are compared step by step."""
        transformers.set_seed(SEED)
        model, tokenizer = load_base(self.base, self.classes, "single_label", dropout)
        model.dropout.p = 0.0
        return model, tokenizer

    def adapted(self, model, params: FinetuneParams):
        transformers.set_seed(SEED)
        return adapt_model(model, params.method, params.method_options, prepare_device(params.threads))

    def trainer(self, side: str, precision: str, *, sequential: bool = False) -> Trainer:
        """One of the sides, ready to train; `sequential` takes the notes in their order."""
        changes = {"precision": precision, "unpadded": "unpadded" in side, "body_dropout": 0.0} | VARIANTS.get(side, {})
        params = self.params.model_copy(update=changes)
        device = prepare_device(params.threads)
        model, tokenizer = self.model(params.body_dropout)
        if side in (PADDED, DYNAMIC):
            trainer = plain_script(self, self.adapted(model, params), tokenizer, params, device, padded=side == PADDED)
        else:
            options = {
                "pad_id": tokenizer.pad_token_id,
                "classes": len(self.classes),
                "multi_label": False,
                "types": False,
            }
            if device.type == "cuda" and not params.unpadded:
                options["multiple"] = 8
            collator = (unpad(model) if params.unpadded else Collator)(**options)
            read = {"max_tokens": params.max_tokens, "weighted": True}
            notes = read_dataset(self.folder / "notes.parquet", tokenizer, self.metadata, **read)
            trainer = make_trainer(
                self.adapted(model, params),
                params,
                folder=self.folder / f"{side}, {precision}",
                device=device,
                train=notes,
                validation=notes.select(range(params.batch_size)),
                collator=collator,
            )
        if sequential:
            trainer.args.train_sampling_strategy = "sequential"
        if side == COMPILED:
            trainer.model.compile(dynamic=True)
        return trainer


def plain_script(bench: Bench, model, tokenizer, params: FinetuneParams, device, *, padded: bool) -> Trainer:
    """What the Trainer's own tutorials write: every note padded to max_length, or each batch to its longest."""
    encoded = tokenizer(
        bench.texts, truncation=True, max_length=params.max_tokens, padding="max_length" if padded else False
    )
    arguments = TrainingArguments(
        str(bench.folder / "plain"),
        seed=params.seed,
        use_cpu=device.type == "cpu",
        bf16=params.precision == "bf16",
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        warmup_steps=params.warmup_share,
        num_train_epochs=1,
        per_device_train_batch_size=params.batch_size,
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    return Trainer(
        model,
        arguments,
        train_dataset=Dataset.from_dict({**encoded, "labels": bench.labels}),
        data_collator=default_data_collator if padded else DataCollatorWithPadding(tokenizer),
    )


class Stopwatch(TrainerCallback):
    """Seconds from the first step's begin to the last step's end."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.start = self.start or clock()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == state.max_steps:
            self.seconds = clock() - self.start


def clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(
    bench: Bench, sides: list[tuple[str, str]], *, repeats: int, warm_up: int = 0
) -> dict[tuple[str, str], float]:
    """Real tokens a second of each (side, precision): the median of `repeats` epochs, the sides taking turns."""
    trainers, seconds = {}, {side: [] for side in sides}
    for side in sides:
        trainers[side] = bench.trainer(*side), Stopwatch()
        trainers[side][0].add_callback(trainers[side][1])
    for turn in tqdm(range(warm_up + repeats), unit=" rounds"):
        for side in sides:
            trainer, watch = trainers[side]
            trainer.train()
            if turn >= warm_up:
                seconds[side].append(watch.seconds)
    return {side: bench.tokens / statistics.median(times) for side, times in seconds.items()}


def losses(bench: Bench, side: str, precision: str) -> list[float]:
    """The loss of each step, over the notes in their order: the same batches whatever the side."""
    trainer, found = bench.trainer(side, precision, sequential=True), []
    step = trainer.training_step

    def noted(*args, **kwargs):
        found.append(float(loss := step(*args, **kwargs)))
        return loss

    trainer.training_step = noted
    trainer.train()
    return found


def farthest(bench: Bench, sides: list[str], precision: str) -> float:
    """The largest difference at any step between the losses of the first side and those of the others."""
    first, *others = [losses(bench, side, precision) for side in sides]
    return max(abs(a - b) for other in others for a, b in zip(first, other, strict=True))


# ---- on a CPU


def on_cpu(
    folder: Path, *, notes: int = 320, steps: int = 6, repeats: int = REPEATS, changes: dict | None = None
) -> None:
    params = finetune_params({"max_tokens": TOKENS, "epochs": 1} | (changes or {}))
    few = Bench(folder, BASE, params, steps * params.batch_size)
    difference = farthest(few, [PADDED, DYNAMIC, OURS, UNPADDED], "fp32")
    bench = Bench(folder, BASE, params, notes)
    sides = [(side, precision) for precision in ("fp32", "bf16") for side in (PADDED, DYNAMIC, OURS, UNPADDED)]
    sides += [(side, "fp32") for side in VARIANTS]
    speed = timed(bench, sides, repeats=repeats)
    print(
        f"{len(bench.texts)} notes of {bench.tokens / len(bench.texts):.0f} tokens on average, {params.threads} threads"
    )
    print_speeds(speed)
    print(f"\nlosses of the four sides on the same batches, {steps} steps, fp32: at most {difference:.1e} apart")


def finetune_params(changes: dict) -> FinetuneParams:
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["finetune"]
    return FinetuneParams(**params | changes)


def print_speeds(speed: dict[tuple[str, str], float]) -> None:
    print("\n| | precision | real tokens/s | to the padded script | to dynamic padding | to its own fp32 |")
    print("|---|---|---|---|---|---|")
    for (side, precision), value in speed.items():
        others = [(PADDED, precision), (DYNAMIC, precision), (side, "fp32")]
        ratios = [f"{value / speed[other]:.2f}" if other in speed else "" for other in others]
        print(f"| {side} | {precision} | {value:.0f} | {' | '.join(ratios)} |")


# ---- on a GPU; tests/test_training_benchmark.py runs the same functions in small on a CPU


def on_gpu(
    folder: Path,
    *,
    shape: dict = BERT_BASE,
    long_shape: dict = MODERNBERT_BASE,
    long_notes: list[int] = LONG_NOTES,
    notes: int = 2048,
    repeats: int = REPEATS,
    compiled: bool = True,
    changes: dict | None = None,
) -> None:
    small = {"method": "full", "max_tokens": TOKENS, "epochs": 1, "batch_size": 64, "learning_rate": 2e-5}
    params = finetune_params(small | (changes or {}))
    base = random_bert(folder / "base", shape)
    bench = Bench(folder, base, params, notes)
    sides = [PADDED, DYNAMIC, OURS, UNPADDED, *([COMPILED] if compiled else [])]
    speed = timed(bench, [(side, "bf16") for side in sides], repeats=repeats, warm_up=1)
    ceiling = matmul_ceiling(prepare_device(params.threads), repeats)
    cost = training_operations(bench) / bench.tokens  # a real token
    print(f"{len(bench.texts)} notes of {bench.tokens / len(bench.texts):.0f} tokens on average")
    print_speeds(speed)
    print(f"\nmeasured ceiling of a bf16 product of matrices: {ceiling / 1e12:.1f} TFLOP/s")
    for (side, _), value in speed.items():
        print(f"model FLOPs utilisation of {side}, real tokens only: {cost * value / ceiling:.1%}")
    for precision in ("fp32", "bf16"):
        print(f"logits, unpadded against padded, {precision}: at most {logits_apart(bench, precision):.1e} apart")
    bytes_padded, bytes_unpadded = (step_memory(long_shape, long_notes, unpadded=side) for side in (False, True))
    print(
        f"memory of one step on notes of {', '.join(map(str, long_notes))} tokens: padded {bytes_padded / 2**20:.0f} MiB, "
        f"unpadded {bytes_unpadded / 2**20:.0f} MiB"
    )


def random_bert(folder: Path, shape: dict) -> Path:
    """A BERT of the shape with random weights and the default base's tokenizer: speed does not depend on the weights."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    torch.manual_seed(SEED)
    config = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=TOKENS, **shape)
    transformers.BertModel(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(BASE / file, folder / file)
    return folder


def training_operations(bench: Bench) -> int:
    """Floating-point operations that an epoch of full training needs, of real tokens only.

    6 a weight and token: a multiplication and an addition, forward and twice backward. Weights are those of the body's
    linear layers; embeddings multiply nothing, and the head sees one vector a note. Attention of a layer: 12 * width *
    length^2 a note, for scores and weighted sums alike (Chowdhery et al. 2022, appendix B).
    """
    model, tokenizer = bench.model()
    lengths = tokenise(tokenizer, bench.texts, None, bench.params.max_tokens)[2]
    body = model.base_model.encoder
    weights = sum(m.weight.numel() for m in body.modules() if isinstance(m, torch.nn.Linear))
    config = model.config
    attention = 12 * config.num_hidden_layers * config.hidden_size * int((lengths.astype(int) ** 2).sum())
    return 6 * weights * int(lengths.sum()) + attention


def matmul_ceiling(device: torch.device, repeats: int) -> float:
    """Operations a second of a large bf16 product of matrices: the best of several sizes, each the median of `repeats`."""
    sizes = (4096, 8192, 16384) if device.type == "cuda" else (256, 512)
    best = 0.0
    for size in sizes:
        left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
        times = []
        for turn in range(repeats + 1):
            start = clock()
            for _ in range(10):
                left @ right
            if turn:
                times.append((clock() - start) / 10)
        best = max(best, 2 * size**3 / statistics.median(times))
    return best


@torch.inference_mode()
def logits_apart(bench: Bench, precision: str) -> float:
    """The largest difference between the logits of the padded and the unpadded path, over 64 notes."""
    device = prepare_device(bench.params.threads)
    model, tokenizer = bench.model()
    model.to(device).eval()
    ids = tokenise(tokenizer, bench.texts[:64], None, bench.params.max_tokens)[0]
    batches = pad(ids, None, tokenizer.pad_token_id), joined(ids, None, first_position(model))
    logits = []
    for batch in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits.append(model(**on_device(batch, device)).logits.float())
        if len(logits) == 1:
            unpad(model)
    return float((logits[0] - logits[1]).abs().max())


def step_memory(shape: dict, lengths: list[int], *, unpadded: bool) -> int:
    """Bytes of a ModernBERT's step in bf16: on a GPU the peak allocated; on a CPU what is kept for the backward pass."""
    device = prepare_device(torch.get_num_threads())
    torch.manual_seed(SEED)
    config = transformers.ModernBertConfig(**shape, num_labels=2, pad_token_id=0, cls_token_id=1, sep_token_id=2)
    model = transformers.ModernBertForSequenceClassification(config).to(device).train()
    ids = [torch.randint(3, config.vocab_size, (length,)).numpy() for length in lengths]
    batch = joined(ids, None, 0) if unpadded else pad(ids, None, 0)
    if unpadded:
        unpad(model)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast(device.type, torch.bfloat16),
    ):
        loss = model(**on_device(batch, device)).logits.logsumexp(dim=1).sum()
    loss.backward()
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else sum(kept.values())


if __name__ == "__main__":
    run(main)
