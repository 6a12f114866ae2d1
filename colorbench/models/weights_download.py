"""Download of weights files from https addresses and the Hugging Face hub."""

from __future__ import annotations

import contextlib
import http
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from colorbench.errors import MissingWeightsError, RunError, UserError, path_hint, printable
from colorbench.models.weights_files import check_sha256
from colorbench.storage import Lock
from colorbench.storage.atomic_files import rename
from colorbench.storage.cache_folders import downloaded_file
from colorbench.storage.limits import LARGEST_WEIGHTS

OFFLINE = ("COLORBENCH_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid downloads."""


_NO_DOWNLOADS: ContextVar[bool] = ContextVar("no_downloads", default=False)


@contextlib.contextmanager
def without_downloads() -> Iterator[None]:
    """Refuse downloads of weights within this context: they raise ``MissingWeightsError``."""
    token = _NO_DOWNLOADS.set(True)
    try:
        yield
    finally:
        _NO_DOWNLOADS.reset(token)


def resolve_weights(source: str | Path, sha256: str | None = None) -> Path:
    """Return the local file of a weights source; remote files are downloaded once.

    Args:
        source: a path; ``https://...``; or ``hf:OWNER/REPOSITORY/FILE[@REVISION]`` on the Hugging Face hub.
        sha256: hexadecimal hash of the file; a download with another hash is deleted.

    Raises:
        UserError: for a missing file, a wrong hash, a source of another form, or a download while offline.
        RunError: for a download that fails.
    """
    text = str(source)
    if text.startswith("hf:"):
        path = _from_hub(text)
    elif text.startswith("https://"):
        path = _from_address(text, sha256)
    elif "://" in text:
        raise UserError("weights are downloaded only by https", where=text, hint="give https://..., hf:... or a path")
    else:
        path = Path(source)
        if not path.is_file():
            raise UserError("no such weights file", where=text, hint=path_hint(path))
    if sha256 is not None:
        check_sha256(path, sha256)
    return path


def _offline() -> bool:
    """Return whether COLORBENCH_OFFLINE or HF_HUB_OFFLINE forbids downloads of weights."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE)


def fetch(address: str, target: Path, sha256: str | None = None) -> None:
    """Download weights from an address to ``target``, atomically.

    An interrupted download with a known hash is resumed by the next call, from the file ``.NAME.part`` beside the
    target. Other processes that need the same file wait.

    Raises:
        RunError: for a download that fails.
        UserError: for a wrong hash; the downloaded file is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    # A separate file, since taking a lock may truncate it.
    while (lock := Lock.take(target.with_name(f".{target.name}.lock"))) is None:
        time.sleep(0.2)
    part.touch()
    try:
        if not target.is_file():
            # Without a hash it is unknown whether two parts belong to the same file.
            _download(address, part, resume=sha256 is not None)
            if sha256 is not None:
                check_sha256(part, sha256)
            rename(part, target)
        part.unlink(missing_ok=True)
    except BaseException as error:
        broken_off = isinstance(error, RunError | KeyboardInterrupt) and sha256 is not None
        if not broken_off or not part.stat().st_size:
            part.unlink(missing_ok=True)
        raise
    finally:
        lock.release()


def _download(address: str, part: Path, *, resume: bool) -> None:
    """Download an address to ``part``, resuming a partial file.

    Raises:
        RunError: for a download that fails or breaks off.
    """
    present = part.stat().st_size if resume else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={present}-"} if present else {})
    hint = "check the address and the network, and run the same command again"
    try:
        with urllib.request.build_opener(_NoDowngrade).open(request, timeout=60) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                present = 0  # the server sends the whole file
            length = _length(response.headers["Content-Length"])
            written = present
            with part.open("r+b") as file:
                file.truncate(present)
                file.seek(present)
                while block := response.read(2**20):
                    written += len(block)
                    if written > LARGEST_WEIGHTS:
                        raise ValueError(f"the file has more than {LARGEST_WEIGHTS >> 30} GB")
                    file.write(block)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the file is complete; the hash is checked later
        raise RunError(f"the download failed: {printable(str(error))}", where=address, hint=hint) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = printable(str(error)) or type(error).__name__
        raise RunError(f"the download failed: {reason}", where=address, hint=hint) from error
    if length is not None and written != present + length:
        raise RunError("the download was interrupted", where=address, hint="run the same command again: it continues")


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Handler of redirects that refuses those from https to anything else."""

    def redirect_request(self, req: urllib.request.Request, *rest: Any, **names: Any) -> urllib.request.Request | None:
        """Return the request that a redirect asks for."""
        again = super().redirect_request(req, *rest, **names)
        if again is not None and again.type != "https" and (req.type == "https" or again.type != "http"):
            raise urllib.error.URLError("the server redirects to an address without https")
        return again


def _length(header: str | None) -> int | None:
    """Return the number of bytes that a server announces; None if it announces none.

    Raises:
        ValueError: for a header that is not a number.
    """
    if header is None:
        return None
    if not (header.isascii() and header.isdigit() and len(header) < 20):
        raise ValueError(f"the server announces a length of {header[:40]!r}")
    return int(header)


def _from_address(address: str, sha256: str | None) -> Path:
    _check_address(address)
    target = downloaded_file(address)
    if not target.is_file():
        _refuse_offline(address)
        fetch(address, target, sha256)
    return target


def _check_address(address: str) -> None:
    """Refuse what is not the https address of a file.

    Raises:
        UserError: naming the fault.
    """
    try:
        parts = urlsplit(address)
        fits = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits:
        raise UserError("this is not an address", where=address[:200], hint="give https://HOST/PATH")
    if not address.isascii() or not address.isprintable() or " " in address:
        hint = "write other characters as %XX, a space as %20"
        raise UserError("an address contains only printable ASCII characters", where=printable(address), hint=hint)
    if {".", ".."} & set(parts.path.split("/")):
        raise UserError("an address contains no . or .. as a folder", where=address[:200], hint="give the full path")


_HUB_NAME = re.compile(r"[A-Za-z0-9_.-]{1,96}")


def _hub_parts(source: str) -> tuple[str, str, str | None]:
    """Return repository, file and revision of ``hf:OWNER/REPOSITORY/FILE[@REVISION]``.

    Raises:
        UserError: for another form.
    """
    position, at, revision = source.removeprefix("hf:").partition("@")
    parts = position.split("/")
    plain = (
        source.isprintable()
        and len(source) < 500
        and not {"", ".", ".."} & {*parts, *(revision.split("/") if at else ())}
    )
    if len(parts) < 3 or not plain or not all(_HUB_NAME.fullmatch(name) for name in parts[:2]) or " " in revision:
        what = "a file on the hub is hf:OWNER/REPOSITORY/FILE[@REVISION]"
        raise UserError(what, where=printable(source), hint="check owner, repository and file")
    return "/".join(parts[:2]), "/".join(parts[2:]), revision or None


def _from_hub(source: str) -> Path:
    """Fetch ``hf:OWNER/REPOSITORY/FILE[@REVISION]`` through the hub's own cache, which also works offline."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    repository, file, revision = _hub_parts(source)
    try:
        local = _offline() or _NO_DOWNLOADS.get()
        found = hf_hub_download(repository, file, revision=revision, local_files_only=local)
    except LocalEntryNotFoundError as error:
        _refuse_offline(source)
        raise RunError("the download failed", where=source, hint="check the network") from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise UserError("no such file on the hub", where=source, hint="check owner, repository and file") from error
    except Exception as error:  # of the HTTP client, which differs between versions of the library
        reason = printable(f"{type(error).__name__}: {error}")
        raise RunError(f"the download failed: {reason}", where=source, hint="check the network") from error
    return Path(found)


def _refuse_offline(source: str) -> None:
    if _NO_DOWNLOADS.get():
        raise MissingWeightsError(
            "these weights are not in the cache", where=source, hint="the first use downloads them"
        )
    if _offline():
        hint = f"download it once without {' and '.join(OFFLINE)}, or give a local file"
        what = "these weights are not in the cache, and downloads are switched off"
        raise MissingWeightsError(what, where=source, hint=hint)
