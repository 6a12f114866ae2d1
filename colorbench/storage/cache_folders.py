"""The user's cache folder, for data that can be downloaded or computed again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs


def cache_folder() -> Path:
    """Return the user's cache folder for colorbench by the platform's convention; it may not exist yet."""
    return platformdirs.user_cache_path("colorbench", appauthor=False)


def downloaded_file(address: str) -> Path:
    """Return the file in the cache to which the weights at an https address are downloaded."""
    name = re.sub(r"[^\w.-]+", "-", urlsplit(address).path.rpartition("/")[2])[-100:].lstrip(".") or "weights"
    return cache_folder() / "weights" / hashlib.sha256(address.encode()).hexdigest()[:16] / name
