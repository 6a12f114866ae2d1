"""The folder for what can be fetched or computed again."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the user's cache folder for colorbench, as the platform has it; it may not exist yet."""
    return platformdirs.user_cache_path("colorbench", appauthor=False)
