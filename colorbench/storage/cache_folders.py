"""The user's cache folder, for data that can be downloaded or computed again."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the user's cache folder for colorbench by the platform's convention; it may not exist yet."""
    return platformdirs.user_cache_path("colorbench", appauthor=False)
