"""Secrets of the server: the salt of the worker ids, and the signing key of the tokens."""

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
    """The secrets of one study; they never change."""

    salt: bytes
    key: bytes
    admin_token: str

    def worker_hash(self, platform: str, worker: str) -> str:
        """Return the hash of a worker id for storage; it cannot be linked to the id without the salt."""
        return hmac.new(self.salt, f"{platform}\0{worker}".encode(), hashlib.sha256).hexdigest()

    def token(self, participant: str) -> str:
        """Return the token of a participant for all requests of the page."""
        return f"{participant}.{self._mac('participant', participant)}"

    def participant_of(self, token: str) -> str | None:
        """Return the participant of a token; None for an invalid token."""
        participant, _, _ = token.partition(".")
        good = hmac.compare_digest(token.encode(), self.token(participant).encode())
        return participant if good and participant else None

    def completion_code(self, participant: str) -> str:
        """Return the completion code, ten characters, for a participant who has finished."""
        digest = hmac.new(self.key, f"code\0{participant}".encode(), hashlib.sha256).digest()
        return "".join(_CODE_ALPHABET[byte % len(_CODE_ALPHABET)] for byte in digest[:10])

    def is_admin(self, token: str) -> bool:
        """Return whether this is the admin token."""
        return hmac.compare_digest(token.encode(), self.admin_token.encode())

    def admin_cookie(self) -> str:
        """Return the admin cookie, which replaces the token in the browser."""
        return self._mac("admin", self.admin_token)

    def form_token(self) -> str:
        """Return the token of the forms of the admin page, against forms on other pages (CSRF)."""
        return self._mac("form", self.admin_token)

    def _mac(self, purpose: str, value: str) -> str:
        digest = hmac.new(self.key, f"{purpose}\0{value}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def load_secrets(folder: Path, admin_token: str | None = None) -> Secrets:
    """Load the secrets of a study, or create them; only their owner may read the file.

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
