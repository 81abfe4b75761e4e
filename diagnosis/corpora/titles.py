"""What the classes are called: titles of their codes and synonyms. They find mentions of a diagnosis and are never text."""


def class_titles(
    classes: list[str], titles: dict[str, list[str]], synonyms: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Every name of each class: its titles (a class without one is named by itself) and the user's synonyms."""
    return {label: sorted({*titles.get(label, [label]), *synonyms.get(label, [])}) for label in sorted(classes)}
