"""Secrets of the server: the salt of the worker ids, and the signing key of the tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadSignature, Signer

from colorbench.errors import UserError
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
        """Return the token that a participant's page sends with every request."""
        return self._signer("participant").sign(participant).decode()

    def participant_of(self, token: str) -> str | None:
        """Return the participant whose token this is; None for anything else."""
        try:
            return self._signer("participant").unsign(token).decode() or None
        except (BadSignature, UnicodeError):
            return None

    def completion_code(self, participant: str) -> str:
        """Return the completion code, ten characters, for a participant who has finished."""
        digest = hmac.new(self.key, f"code\0{participant}".encode(), hashlib.sha256).digest()
        return "".join(_CODE_ALPHABET[byte % len(_CODE_ALPHABET)] for byte in digest[:10])

    def is_admin(self, token: str) -> bool:
        """Return whether this is the admin token."""
        return hmac.compare_digest(token.encode(), self.admin_token.encode())

    def admin_cookie(self) -> str:
        """Return the cookie that the admin's browser keeps instead of the token."""
        return self._signer("admin").get_signature(self.admin_token).decode()

    def is_admin_cookie(self, cookie: str) -> bool:
        """Return whether this is the cookie of the present admin token."""
        return self._signer("admin").verify_signature(self.admin_token, cookie)

    def form_token(self) -> str:
        """Return the token that every form of the admin page holds, against forms on other pages."""
        return self._signer("form").get_signature(self.admin_token).decode()

    def is_form_token(self, token: str) -> bool:
        """Return whether this is the token of the admin page's forms."""
        return self._signer("form").verify_signature(self.admin_token, token)

    def _signer(self, purpose: str) -> Signer:
        # 384 bits are 64 signs of base64 without a rest: every sign of a signature counts.
        return Signer(self.key, salt=purpose, key_derivation="hmac", digest_method=hashlib.sha384)


def load_secrets(folder: Path, admin_token: str | None = None) -> Secrets:
    """Load the secrets of a study, or create them; only their owner may read the file.

    Args:
        folder: the study's ``data/``.
        admin_token: to use from now on instead of the stored one.

    Raises:
        UserError: for a damaged file. It is not replaced, since participants would lose their places.
    """
    path = folder / FILE
    if path.exists():
        kept = _read(path)
    else:
        kept = {"salt": secrets.token_hex(32), "key": secrets.token_hex(32), "admin_token": secrets.token_urlsafe(24)}
    if admin_token is not None:
        kept["admin_token"] = admin_token
    write_atomic(path, json.dumps(kept).encode(), private=True)
    return Secrets(bytes.fromhex(kept["salt"]), bytes.fromhex(kept["key"]), kept["admin_token"])


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_bytes())
        texts = {name: str(kept[name]) for name in ("salt", "key", "admin_token")}
        if min(len(bytes.fromhex(texts[name])) for name in ("salt", "key")) < 32 or not texts["admin_token"]:
            raise ValueError("a secret is too short")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        hint = "restore it from a backup; without it, participants cannot continue, and may take part twice"
        raise UserError("the secrets of the study cannot be read", where=str(path), hint=hint) from error
    return texts
