"""Train the base model further on unlabelled text of the domain, by masked words. Off by default: the base passes through."""

import math
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

from pydantic import Field

from diagnosis.errors import UserError, run
from diagnosis.files import require, sha256, write_json, written_aside
from diagnosis.params import Params
from diagnosis.training.curves import write_curves

LITERATURE = Path("data/raw/unlabelled")
TRAIN = Path("data/split/train.parquet")
JUDGED_ON = [Path(f"data/split/{shard}.parquet") for shard in ("validation", "calibration", "test")]
BASE = Path("models/base")
ADAPTED = Path("models/adapted")
METRICS = Path("metrics/adapt.json")
CURVES = Path("plots/adapt.csv")
CHECKPOINTS = Path(".checkpoints")
CARD = "adapted.json"  # with what the base was adapted, beside its weights


class AdaptParams(Params):
    enabled: bool
    train_notes: bool
    held_out_share: float = Field(gt=0, lt=1)
    contained_share: float = Field(gt=0, le=1)
    seed: int = Field(ge=0, lt=2**32)
    mask_share: float = Field(gt=0, lt=1)
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    max_tokens: int = Field(ge=8)
    precision: Literal["fp32", "bf16"]
    threads: int = Field(ge=1)


def main():
    params = AdaptParams.load("adapt")
    if params.enabled:
        adapt(params)
        return
    require(BASE, "run the stage fetch_model")
    with written_aside(ADAPTED) as partial:
        shutil.copytree(BASE, partial)
    write_json(METRICS, {"enabled": False})
    write_curves(CURVES, [])


def adapt(params: AdaptParams) -> None:
    # Here and not above: torch takes seconds, and the stage that is switched off one.
    import transformers
    from tqdm import tqdm

    from diagnosis.corpora.corpus import Tally
    from diagnosis.corpora.near_duplicates import fingerprint, words
    from diagnosis.data_use import DataUse, strictest
    from diagnosis.notes import read_metadata
    from diagnosis.pretraining import training
    from diagnosis.pretraining.blocks import MaskedBlocks, TokenFile
    from diagnosis.pretraining.texts import HeldOut, dealt, literature, open_literature, texts_of
    from diagnosis.training.checkpoints import training_key
    from diagnosis.training.device import check_precision, out_of_memory_explained, prepare_device
    from diagnosis.training.model import save_model

    transformers.logging.set_verbosity_error()
    device = prepare_device(params.threads)
    check_precision(params.precision, device, "adapt")
    transformers.set_seed(params.seed)
    model, tokenizer = training.load_masked(BASE, params.max_tokens)
    corpora = open_literature(LITERATURE)
    terms = [DataUse.of(corpus.data_use) for corpus in corpora.values()]
    if params.train_notes:
        terms.append(DataUse.of(read_metadata(TRAIN)["data_use"]))
    if not terms:
        raise UserError(
            f"{LITERATURE} holds no corpus and adapt.train_notes is false: there is nothing to adapt with; see docs/adapt.md"
        )

    # ---- the texts as tokens on disk, but for those that hold a note which the model will be judged on
    judged, seen = HeldOut(texts_of(JUDGED_ON), params.contained_share), set()
    tallies, counts = defaultdict(Tally), defaultdict(Counter)
    files = {part: TokenFile(CHECKPOINTS) for part in ("train", "held_out")}
    notes = (("train_notes", text) for text in texts_of([TRAIN] if params.train_notes else []))
    for texts in (literature(corpora, tallies), notes):
        for source, text in tqdm(texts, unit=" texts", desc="adapt: tokenise"):
            its_words = words(text)
            if (same := fingerprint(its_words)) in seen:
                counts[source]["repeated"] += 1
            elif judged.in_text(its_words):
                counts[source]["holds_a_held_out_note"] += 1
            else:
                counts[source]["used"] += 1
                encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
                files[dealt(same, params.held_out_share)].add(encoding, tokenizer.sep_token_id)
            seen.add(same)
    if empty := [part for part, file in files.items() if not file.tokens]:
        raise UserError(f"no text is left for {' and '.join(empty)}: bring more text, or change adapt.held_out_share")

    # ---- training
    blocks = {
        part: MaskedBlocks(
            file, tokenizer, params.max_tokens, params.mask_share, params.seed if part == "held_out" else None
        )
        for part, file in files.items()
    }
    settings = params.model_dump() | {part: file.digest for part, file in files.items()} | {"device": device.type}
    settings["code"] = [sha256(Path(training.__file__).parent), sha256(Path(__file__))]
    folder = CHECKPOINTS / training_key([BASE], settings)
    model.to(device)
    with out_of_memory_explained("adapt.batch_size", "adapt.max_tokens"):
        before = training.masked_loss(model, tokenizer, blocks["held_out"], params.batch_size)
        log = training.train(
            model, tokenizer, params, folder=folder, device=device, data=blocks["train"], held_out=blocks["held_out"]
        )
        after = training.masked_loss(model, tokenizer, blocks["held_out"], params.batch_size)

    with written_aside(ADAPTED) as partial:
        save_model(model, tokenizer, partial, tokenizer.model_max_length)
        write_json(partial / CARD, {"data_use": strictest(terms).plain(), "base_sha256": sha256(BASE)})
    write_curves(CURVES, log)
    write_json(METRICS, {
        "enabled": True,
        "texts": counts,
        "skipped": {name: tally.skipped for name, tally in tallies.items()},
        "tokens": {part: file.tokens for part, file in files.items()},
        "held_out": {
            "loss": {"before": round(before, 6), "after": round(after, 6)},
            "perplexity": {"before": round(math.exp(before), 4), "after": round(math.exp(after), 4)},
        },
    })  # fmt: skip
    shutil.rmtree(folder)


if __name__ == "__main__":
    run(main)
