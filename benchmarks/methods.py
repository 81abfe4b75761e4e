"""What each method of fine-tuning trains of the base model, and what it leaves beside it; the table of docs/finetune.md.

python -m benchmarks.methods    # after `dvc repro fetch_model`; a minute
"""

import tempfile
from pathlib import Path

import torch
import transformers

from diagnosis.errors import UserError, run
from diagnosis.training.methods import adapt_model, save_trained
from diagnosis.training.model import load_base

BASE = Path("models/base")
CLASSES = [f"class {number}" for number in range(10)]
PROMPTS = {"num_virtual_tokens": 20}
# The defaults of params.yaml, and of peft for what they do not name.
ROWS = {
    "full": ("full", {}),
    "top_layers": ("top_layers", {"layers": 2}),
    "bottleneck": ("bottleneck", {"size": 64}),
    "lora": ("lora", {"r": 16, "lora_alpha": 32}),
    "lora, use_dora": ("lora", {"r": 16, "lora_alpha": 32, "use_dora": True}),
    "oft": ("oft", {}),
    "hra": ("hra", {}),
    "loha": ("loha", {}),
    "lokr": ("lokr", {}),
    "vera": ("vera", {}),
    "vblora": ("vblora", {"vector_length": 128}),
    "fourierft": ("fourierft", {}),
    "ia3": ("ia3", {}),
    "ln_tuning": ("ln_tuning", {}),
    "prefix_tuning": ("prefix_tuning", PROMPTS),
    "p_tuning": ("p_tuning", PROMPTS),
    "prompt_tuning": ("prompt_tuning", PROMPTS),
    "linear_probe": ("linear_probe", {}),
}


def main():
    transformers.logging.set_verbosity_error()
    print("| method | options | trained | in the weights |\n|---|---|---|---|")
    for name, (method, options) in ROWS.items():
        transformers.set_seed(0)
        model, tokenizer = load_base(BASE, CLASSES, "single_label", 0.0)
        parameters = model.num_parameters()
        stated = ", ".join(f"{key}: {value}" for key, value in options.items() if key != "use_dora")
        try:
            model = adapt_model(model, method, {method: options}, torch.device("cpu"))
        except UserError as error:
            print(f"| {name} | {stated} | {error} | |")
            continue
        share = sum(weights.numel() for weights in model.parameters() if weights.requires_grad) / parameters
        with tempfile.TemporaryDirectory() as folder:
            beside = save_trained(model, tokenizer, Path(folder) / "model", 256)
        print(f"| {name} | {stated} | {share:.2%} | {'no' if beside else 'yes'} |", flush=True)


if __name__ == "__main__":
    run(main)
