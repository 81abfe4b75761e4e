"""How long a note is for the base model, without the model: its tokenizer alone, no torch."""

from pathlib import Path

from tokenizers import Tokenizer

from diagnosis.base_model import CONFIG
from diagnosis.errors import UserError
from diagnosis.files import read_json, require

OFFSET = ("roberta", "camembert", "mpnet", "longformer")  # they count positions from behind their padding index


def open_tokenizer(base: Path) -> Tokenizer:
    """The tokenizer of a base model's folder; raises UserError where there is none that can be read."""
    require(base, "run `dvc repro fetch_model`")
    try:
        if (base / "tokenizer.json").exists():
            tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        else:  # a vocabulary alone, as BioBERT has; how it splits words is known to transformers only
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False).backend_tokenizer
    except Exception as error:  # whatever they raise; none of it has seen a note
        raise UserError(
            f"{base} has no tokenizer that can be read ({type(error).__name__}): fetch the model again"
        ) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def count_tokens(tokenizer: Tokenizer, texts: list[str], pairs: list[str] | None) -> list[int]:
    """Tokens of each text (with its pair where there are pairs), special ones included, uncut."""
    special = tokenizer.num_special_tokens_to_add(pairs is not None)
    counts = [special + len(each.ids) for each in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    if pairs is not None:
        second = tokenizer.encode_batch_fast(pairs, add_special_tokens=False)
        counts = [count + len(each.ids) for count, each in zip(counts, second, strict=True)]
    return counts


def model_window(base: Path) -> int | None:
    """The most tokens that the model's positions can take by its config; None where they have no end."""
    config = read_json(base / CONFIG)
    positions, kind = config.get("max_position_embeddings"), config.get("model_type", "")
    if positions is None:
        return None
    return positions - (config.get("pad_token_id", 1) + 1 if any(name in kind for name in OFFSET) else 0)
