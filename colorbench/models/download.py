"""Weights files that lie elsewhere: https addresses and the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from colorbench.errors import RunError, UserError
from colorbench.models.weights import check_sha256

OFFLINE = ("COLORBENCH_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid downloads."""


def resolve(source: str | Path, sha256: str | None = None) -> Path:
    """Return the local file of a weights source, which is downloaded once.

    Args:
        source: a path; ``https://...``; or ``hf:OWNER/REPOSITORY/FILE[@REVISION]`` on the Hugging Face hub.
        sha256: hexadecimal hash that the file must have; what was downloaded with another one is not kept.

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
        raise UserError("weights are downloaded by https only", where=text, hint="give https://..., hf:... or a path")
    else:
        path = Path(source)
        if not path.is_file():
            raise UserError("no such weights file", where=text, hint="check the path")
    if sha256 is not None:
        check_sha256(path, sha256)
    return path


def offline() -> bool:
    """Return whether COLORBENCH_OFFLINE or HF_HUB_OFFLINE forbids downloads."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE)


def fetch(address: str, target: Path, sha256: str | None = None) -> None:
    """Download into ``target``, which is there whole or not at all.

    Raises:
        RunError: for a download that fails.
        UserError: for another hash than the one wanted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder) / target.name
        try:
            with urllib.request.urlopen(address, timeout=60) as prediction, part.open("wb") as file:
                while block := prediction.read(2**20):
                    file.write(block)
                expected = prediction.headers["Content-Length"]
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise RunError(
                f"the download failed: {error}", where=address, hint="check the address and the network"
            ) from error
        if expected is not None and part.stat().st_size != int(expected):
            raise RunError("the download broke off", where=address, hint="try again")
        if sha256 is not None:
            check_sha256(part, sha256)
        part.replace(target)


def _from_address(address: str, sha256: str | None) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colorbench" / "weights"
    name = re.sub(r"[^\w.-]+", "-", address.rpartition("/")[2].partition("?")[0]) or "weights"
    target = cache / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if not target.is_file():
        _refuse_offline(address)
        fetch(address, target, sha256)
    return target


def _from_hub(source: str) -> Path:
    """Fetch ``hf:OWNER/REPOSITORY/FILE[@REVISION]`` through the hub's own cache, which is used offline, too."""
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
        found = hf_hub_download("/".join(parts[:2]), parts[2], revision=revision or None, local_files_only=offline())
    except LocalEntryNotFoundError as error:
        _refuse_offline(source)
        raise RunError("the download failed", where=source, hint="check the network") from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise UserError("no such file on the hub", where=source, hint="check owner, repository and file") from error
    except (HfHubHTTPError, OSError) as error:
        raise RunError(f"the download failed: {error}", where=source, hint="check the network") from error
    return Path(found)


def _refuse_offline(source: str) -> None:
    if offline():
        hint = f"download it once without {' and '.join(OFFLINE)}, or give a local file"
        raise UserError("these weights are not here yet, and downloads are switched off", where=source, hint=hint)
