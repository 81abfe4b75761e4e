"""The key that new ids, surrogates and date offsets are derived from, by HMAC-SHA256 (RFC 2104)."""

import hashlib
import hmac
from pathlib import Path

from diagnosis.errors import UserError
from diagnosis.files import require

MIN_CHARACTERS = 32
PUBLIC = "public"


class Key:
    """Keyed hashes. Equal (patient, kind, value) give equal results wherever they stand; without the key none can be guessed."""

    def __init__(self, secret: str):
        self._secret = secret.encode()

    @property
    def fingerprint(self) -> str:
        """16 hex characters that tell two keys apart and say nothing of either."""
        return hashlib.sha256(b"diagnosis key fingerprint\0" + self._secret).hexdigest()[:16]

    def rekey(self, kind: str, value: str | None) -> str | None:
        """A new id of 16 hex characters for the id `value` of `kind` (its column); null stays null."""
        if value is None:
            return None
        return hmac.digest(self._secret, f"{kind}:{value}".encode(), "sha256").hex()[:16]

    def number(self, patient: str, kind: str, value: str, attempt: int = 0) -> int:
        """256 bits as an integer. The parts are told apart by a character that the readers' ids do not hold."""
        message = "\x1f".join(("surrogate", patient, kind, value, str(attempt)))
        return int.from_bytes(hmac.digest(self._secret, message.encode(), "sha256"))


def read_key(path: Path, data_use: dict) -> Key:
    """Read a key file; raises UserError where it is missing, too short, or public while the notes are not."""
    make_one = "make one as keys/README.md says"
    require(path, f"deidentify.key_file names no file, {make_one}")
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"deidentify.key_file: {path} is not a readable text file: {make_one}") from None
    if len(secret) < MIN_CHARACTERS:
        raise UserError(
            f"deidentify.key_file: {path} holds {len(secret)} characters and needs at least {MIN_CHARACTERS}: {make_one}"
        )
    if secret.startswith(PUBLIC) and data_use.get("public") is not True:
        raise UserError(
            f"deidentify.key_file: {path} is the public key, which protects nobody, and the notes of "
            f"'{data_use.get('corpus', 'this corpus')}' are not public: {make_one} and name it in deidentify.key_file"
        )
    return Key(secret)
