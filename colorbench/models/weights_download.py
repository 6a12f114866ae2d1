"""Download of weights files from https addresses and the Hugging Face hub."""

from __future__ import annotations

import contextlib
import hashlib
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

from colorbench.errors import MissingWeightsError, RunError, UserError
from colorbench.models.weights_files import check_sha256
from colorbench.storage import Lock, cache_folder
from colorbench.storage.atomic_files import rename

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
            raise UserError("no such weights file", where=text, hint="check the path")
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
        with urllib.request.urlopen(request, timeout=60) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                present = 0  # the server sends the whole file
            with part.open("r+b") as file:
                file.truncate(present)
                file.seek(present)
                while block := response.read(2**20):
                    file.write(block)
            length = response.headers["Content-Length"]
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the file is complete; the hash is checked later
        raise RunError(f"the download failed: {error}", where=address, hint=hint) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise RunError(f"the download failed: {error}", where=address, hint=hint) from error
    if length is not None and part.stat().st_size != present + int(length):
        raise RunError("the download was interrupted", where=address, hint="run the same command again: it continues")


def _from_address(address: str, sha256: str | None) -> Path:
    cache = cache_folder() / "weights"
    name = re.sub(r"[^\w.-]+", "-", address.rpartition("/")[2].partition("?")[0]) or "weights"
    target = cache / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if not target.is_file():
        _refuse_offline(address)
        fetch(address, target, sha256)
    return target


def _from_hub(source: str) -> Path:
    """Fetch ``hf:OWNER/REPOSITORY/FILE[@REVISION]`` through the hub's own cache, which also works offline."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    position, _, revision = source.removeprefix("hf:").partition("@")
    parts = position.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise UserError("a file on the hub is hf:OWNER/REPOSITORY/FILE[@REVISION]", where=source)
    try:
        local = _offline() or _NO_DOWNLOADS.get()
        found = hf_hub_download("/".join(parts[:2]), parts[2], revision=revision or None, local_files_only=local)
    except LocalEntryNotFoundError as error:
        _refuse_offline(source)
        raise RunError("the download failed", where=source, hint="check the network") from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise UserError("no such file on the hub", where=source, hint="check owner, repository and file") from error
    except (HfHubHTTPError, OSError) as error:
        raise RunError(f"the download failed: {error}", where=source, hint="check the network") from error
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
