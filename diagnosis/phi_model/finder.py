"""What finds identifiers: the rules, the learned detector, or both."""

from pathlib import Path

from diagnosis.phi.detector import Known, detect
from diagnosis.phi_model.card import read_card


def finder(detector: str, folder: Path):
    """A function from texts to what is found in each: its spans, and what of them to look for in the patient's other texts.

    `detector` is rules, model or both; `folder` holds the model. Raises UserError where it is asked for and switched off.

    What the model finds is looked for nowhere else: it reads each text by itself, and its errors would spread.
    """
    if detector == "rules":
        return lambda texts: [detect(text) for text in texts]
    read_card(folder)
    from diagnosis.phi_model.inference import beside, load_detector  # torch, which the rules do without

    model = load_detector(folder)

    def find(texts: list[str]) -> list[tuple[list, Known]]:
        rules = [detect(text) if detector == "both" else ([], Known()) for text in texts]
        guesses = model.find(texts)
        return [
            (beside(text, spans, guessed), known)
            for text, (spans, known), guessed in zip(texts, rules, guesses, strict=True)
        ]

    return find
