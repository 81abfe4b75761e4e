"""The terms that notes come under, where what was made of them may be sent, and the checks before anything is.

The record travels in the metadata of every table, in the model's card and in the tags of a run. What a reader leaves out is
filled in here: by what its licence says, else by the strictest value. docs/data.md has the sources.
"""

import ipaddress
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from diagnosis.errors import UserError
from diagnosis.params import Params

LICENCES = {
    "PhysioNet Credentialed Health Data License 1.5.0": {
        "agreement": "PhysioNet Credentialed Health Data Use Agreement 1.5.0",
        "commercial_use": "no",
    },
    "CC0-1.0": {"commercial_use": "yes"},
    "CC0-1.0 (invented)": {"commercial_use": "yes"},
    "CC-BY-4.0": {"commercial_use": "yes"},
    "CC-BY-SA-3.0": {"commercial_use": "share-alike"},
    "CC-BY-SA-4.0": {"commercial_use": "share-alike"},
    "CC-BY-NC-4.0": {"commercial_use": "no"},
    "MIT": {"commercial_use": "yes"},
    "Apache-2.0": {"commercial_use": "yes"},
}
"""What follows from a licence by its text alone."""

STRICTEST_USE = ("no", "unknown", "share-alike", "yes")
PORTS = {"http": 80, "https": 443, "ssh": 22}
SERVERS = {
    "http",
    "https",
    "ssh",
    "webdav",
    "webdavs",
    "postgresql",
    "mysql",
    "mssql",
}  # whose host may be this machine
SERVICES = {"databricks", "databricks-uc", "uc"}  # MLflow takes these names for an address

CommercialUse = Literal["yes", "no", "share-alike", "unknown"]


def _target(text: str) -> str:
    if text not in ("local", "any") and not re.match(r"[a-z][a-z0-9+.-]*://", text):
        raise ValueError("a target is local, any, or the beginning of an address, e.g. https://mlflow.ward.example")
    return text


Target = Annotated[str, AfterValidator(_target)]


class DataUse(BaseModel):
    """The terms of one corpus, or of several together. `expiry` is the last day on which anything may be sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str = Field(min_length=1)
    licence: str
    agreement: str | None
    legal_basis: str | None
    region: str | None
    commercial_use: CommercialUse
    approval_id: str | None
    allowed_targets: list[Target]
    expiry: date | None
    public: StrictBool

    @classmethod
    def of(cls, stated: dict) -> Self:
        """The whole record of what a reader or an older table states; raises UserError for a value that makes no sense."""
        stated = {name: value for name, value in stated.items() if value is not None}
        licence, public = stated.get("licence", "unstated"), stated.get("public", False)
        filled = dict.fromkeys(cls.model_fields) | {
            "corpus": "unnamed",
            "licence": licence,
            "public": public,
            "commercial_use": "unknown",
            "allowed_targets": ["any"] if public is True else ["local"],
            **(LICENCES.get(licence, {}) if isinstance(licence, str) else {}),
        }
        try:
            return cls.model_validate(filled | stated)
        except ValidationError as error:
            names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
            raise UserError(f"data-use terms: {names} cannot be read: run `dvc repro ingest`") from None

    def plain(self) -> dict:
        """As JSON has it."""
        return self.model_dump(mode="json")


class DataUseParams(Params):
    """What a user's own approval says; null keeps what the corpus states."""

    agreement: str | None
    legal_basis: str | None
    region: str | None
    commercial_use: CommercialUse | None
    approval_id: str | None
    allowed_targets: list[Target] | None
    expiry: date | None

    def over(self, stated: dict) -> DataUse:
        return DataUse.of(stated | {name: value for name, value in self if value is not None})


def strictest(terms: list[DataUse]) -> DataUse:
    """The terms of things made from several corpora: each permission only where all give it. `terms` is not empty."""

    def joined(field: str) -> str | None:
        return " + ".join(sorted({value for each in terms if (value := getattr(each, field)) is not None})) or None

    targets = terms[0].allowed_targets
    for each in terms[1:]:
        both = [one for one in targets if _within(one, each.allowed_targets)]
        targets = both + [one for one in each.allowed_targets if _within(one, targets) and one not in both]
    return DataUse(
        **{name: joined(name) for name in ("corpus", "licence", "agreement", "legal_basis", "region", "approval_id")},
        commercial_use=min((each.commercial_use for each in terms), key=STRICTEST_USE.index),
        allowed_targets=targets,
        expiry=min((each.expiry for each in terms if each.expiry), default=None),
        public=all(each.public for each in terms),
    )


def _within(target: str, allowed: list[str]) -> bool:
    return target in allowed or "any" in allowed or ("://" in target and permits(allowed, target))


# ---------------------------------------------------------------- before anything is sent


def check_sending(terms: DataUse, address: str, what: str, today: date) -> None:
    """Raises UserError, one line without passwords, where `terms` do not let `what` go to `address` (a URL or a path)."""
    if terms.expiry and today > terms.expiry:
        raise UserError(
            f"{what} is not sent: the terms of '{terms.corpus}' ended on {terms.expiry}: renew the approval and state its "
            "end in ingest.data_use.expiry"
        )
    if not permits(terms.allowed_targets, address):
        raise UserError(
            f"{what} is not sent to {shown(address)}: the terms of '{terms.corpus}' ({terms.agreement or terms.licence}) "
            f"allow {', '.join(map(shown, terms.allowed_targets)) or 'no target'} only: choose such a target, or add this one to "
            "ingest.data_use.allowed_targets where your approval covers it"
        )


def permits(allowed: list[str], address: str) -> bool:
    """Whether one of the targets is `any`, is `local` and the address is of this machine, or begins the address."""
    if "any" in allowed or ("local" in allowed and is_local(address)):
        return True
    whole = _split(address)
    parts = unquote(whole.path).strip("/").split("/")  # who opens it reads %2e%2e as ..
    for target in allowed:
        begin = _split(target)
        path = [part for part in begin.path.split("/") if part]
        if (
            begin.scheme not in ("", "unreadable")
            and (begin.scheme, begin.hostname, _port(begin)) == (whole.scheme, whole.hostname, _port(whole))
            and parts[: len(path)] == path
            and ".." not in parts
        ):
            return True
    return False


def is_local(address: str) -> bool:
    """Whether an address is a path, a file or a server of this machine. What a mounted folder or a tunnel leads to nobody
    can see from here."""
    parts = _split(address)
    if not parts.scheme:
        return True
    if parts.scheme in ("file", "sqlite"):
        return parts.netloc in ("", "localhost")
    host = parts.hostname or ""
    if parts.scheme.split("+")[0] not in SERVERS:
        return False  # the host of s3://localhost is a bucket
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def as_url(address: str) -> str:
    """An address with its scheme: git's `host:path` is ssh, MLflow's `databricks` a service; a path stays one."""
    before, colon, after = address.partition(":")
    if address.partition(":")[0] in SERVICES:
        return f"{before}://{after}"
    if not colon or "/" in before or "://" in address or before.lower() == "file":
        return address
    return f"ssh://{before}/{after.lstrip('/')}"


def shown(address: str) -> str:
    """An address without path, user and password."""
    if address in ("local", "any"):
        return address
    parts = _split(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else "this machine"


def _split(address: str) -> SplitResult:
    try:
        parts = urlsplit(as_url(address))
        parts.port  # noqa: B018  a port that is no number is found here
        elsewhere = any(name.startswith("host") for name in parse_qs(parts.query))  # in place of the host before it
        return urlsplit("unreadable://") if elsewhere else parts
    except ValueError:
        return urlsplit("unreadable://")


def _port(parts: SplitResult) -> int | None:
    return parts.port or PORTS.get(parts.scheme)


def check_unpushable(path: Path) -> None:
    """Raises UserError where `dvc push` would send the notes at `path`: what `dvc add` wrote of them lacks `push: false`."""
    above = [p.with_name(f"{p.name}.dvc") for p in (path, *path.parents) if p.name and p.name != ".."]
    for file in [p for p in above if p.is_file()] + (sorted(path.rglob("*.dvc")) if path.is_dir() else []):
        try:
            outs = YAML(typ="safe", pure=True).load(file)["outs"]
            pushed = any(out.get("push", True) for out in outs)
        except (YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
            continue  # no file of DVC's, which would stop at it
        if pushed:
            raise UserError(
                f"{file} lets `dvc push` send notes that are not public to a remote: add `push: false` to its out, below and "
                "indented as `path:`"
            )
