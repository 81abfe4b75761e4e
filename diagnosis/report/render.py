"""Jinja2 environments in which a number keeps its source: HTML in `<data value data-from>`, Markdown with a source cell."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from diagnosis.report import charts
from diagnosis.report.evidence import Evidence, Found, writer

TEMPLATES = Path(__file__).parent / "templates"
NOT_STATED = "NOT STATED"

FORMS = {
    "percent": lambda v: f"{100 * v:.0f}",
    "points": lambda v: f"{100 * v:+.0f}",
    "decimal": lambda v: f"{v:.2f}",
    "fine": lambda v: f"{v:.3f}",
    "signed": lambda v: f"{v:+.2f}",
    "count": lambda v: f"{v:,}",
}
"""How a number is shown; what is no number (a hidden count, `<11`) is shown as it is."""


def shown(found: Found, form: str) -> str:
    value = found.value
    if value is None:
        return "–"
    if isinstance(value, (str, bool)):
        return str(value)
    text = FORMS[form](value)
    if form == "fine" and value < 1 and float(text) == 1:
        text = ">0.999"  # what missed something is not whole
    return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", "−")  # no +0.00


def as_html(found: Found, form: str = "decimal") -> Markup:
    if found.value is None:
        return Markup('<span class="none" title="undefined">–</span>')
    return Markup('<data value="{}" data-from="{}">{}</data>').format(
        json.dumps(found.value, ensure_ascii=False), found.where, shown(found, form)
    )


def html(evidence: Evidence) -> Environment:
    """What pages are rendered in; everything that is no markup of ours is escaped."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        lstrip_blocks=True,
    )
    made.filters |= {"num": as_html}
    made.globals |= {"charts": charts, "NOT_STATED": NOT_STATED, "writer": writer, "md5": evidence.md5}
    return made


def markdown(evidence: Evidence) -> Environment:
    """What the card and the checklist are rendered in."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  Markdown; `cell` takes care of what a reader could take for markup
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "num": lambda found, form="decimal": cell(shown(found, form)),
        "cell": cell,
        "source": lambda found: source(found, evidence),
    }
    made.globals |= {"NOT_STATED": NOT_STATED}
    return made


def cell(text) -> str:
    """Text that stays in its table cell and is not read as HTML."""
    return str(escape(" ".join(str(text).split()))).replace("&#39;", "'").replace("&#34;", '"').replace("|", "\\|")


def source(found: Found, evidence: Evidence) -> str:
    """A cell that names the stage, the file and the first eight digits of its hash; of a param, its section's."""
    if found.file == "params.yaml":
        return f"you, params.yaml `{'.'.join(found.place)}`, `{evidence.sections[found.place[0]][:8]}`"
    md5 = evidence.md5.get(found.file)
    told = f"{writer(found.file)}, {found.file}"
    return f"{told}, `{md5[:8]}`" if md5 else f"{told}: no such file"
