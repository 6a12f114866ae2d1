"""What only the server knows: the salt of the workers' ids, and the key that its tokens are signed with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from colorbench.storage import write_atomic

FILE = "secrets.json"
_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without 0, 1, I and O: codes are copied by hand."""


@dataclass(frozen=True)
class Secrets:
    """The secrets of one study; they stay the same for its whole life."""

    salt: bytes
    key: bytes
    admin_token: str

    def worker_hash(self, platform: str, worker: str) -> str:
        """Return the hash under which a worker's id is stored: without the salt nobody finds the id again."""
        return hmac.new(self.salt, f"{platform}\0{worker}".encode(), hashlib.sha256).hexdigest()

    def token(self, participant: str) -> str:
        """Return the token that a participant's page sends with every request."""
        return f"{participant}.{self._mac('participant', participant)}"

    def participant_of(self, token: str) -> str | None:
        """Return the participant whose token this is; None for anything else."""
        participant, _, _ = token.partition(".")
        good = hmac.compare_digest(token.encode(), self.token(participant).encode())
        return participant if good and participant else None

    def completion_code(self, participant: str) -> str:
        """Return the completion code, ten characters that are shown only to a participant who finished."""
        digest = hmac.new(self.key, f"code\0{participant}".encode(), hashlib.sha256).digest()
        return "".join(_CODE_ALPHABET[byte % len(_CODE_ALPHABET)] for byte in digest[:10])

    def is_admin(self, token: str) -> bool:
        """Return whether this is the admin's token."""
        return hmac.compare_digest(token.encode(), self.admin_token.encode())

    def admin_cookie(self) -> str:
        """Return the cookie that the admin's browser keeps instead of the token."""
        return self._mac("admin", self.admin_token)

    def form_token(self) -> str:
        """Return the token that every form of the admin page holds, against forms on other pages."""
        return self._mac("form", self.admin_token)

    def _mac(self, purpose: str, value: str) -> str:
        digest = hmac.new(self.key, f"{purpose}\0{value}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def load_secrets(folder: Path, admin_token: str | None = None) -> Secrets:
    """Load the study's secrets, made when it is served for the first time; only their owner may read the file.

    Args:
        folder: the study's ``data/``.
        admin_token: to use from now on instead of the one that is kept.
    """
    path = folder / FILE
    if path.exists():
        kept = json.loads(path.read_text())
    else:
        kept = {"salt": secrets.token_hex(32), "key": secrets.token_hex(32), "admin_token": secrets.token_urlsafe(24)}
    if admin_token is not None:
        kept["admin_token"] = admin_token
    write_atomic(path, json.dumps(kept).encode(), private=True)
    return Secrets(bytes.fromhex(kept["salt"]), bytes.fromhex(kept["key"]), kept["admin_token"])
