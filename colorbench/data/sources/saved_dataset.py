"""Folders that ``datasets`` saved (``save_to_disk``): found without the modules that read tables, which load slowly."""

from __future__ import annotations

import json
import os
from pathlib import Path

from colorbench.data.sources.lists_and_labels import short
from colorbench.data.sources.samples import COPY_AGAIN
from colorbench.errors import UserError

_STATE, _SPLITS = "state.json", "dataset_dict.json"


def saved_files(folder: Path) -> list[Path]:
    """Return the files of a dataset that ``datasets`` saved; empty for another folder.

    Raises:
        UserError: for a dataset with splits, or with missing or foreign files.
    """
    if (folder / _SPLITS).is_file():
        splits = sorted(path.parent.name for path in folder.glob(f"*/{_STATE}"))
        given = f"give one of them, as {folder / splits[0]}" if splits else COPY_AGAIN
        raise UserError(f"this dataset has the splits {', '.join(splits) or '(none)'}", where=str(folder), hint=given)
    if not (folder / _STATE).is_file() or not (folder / "dataset_info.json").is_file():
        return []
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        names = [str(one["filename"]) for one in state["_data_files"]]
        reordered = bool(state.get("_indices_data_files"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError("the saved dataset is damaged", where=str(folder / _STATE), hint=COPY_AGAIN) from error
    if reordered:
        what = "this dataset was saved by an old version of datasets, with an order of its own"
        raise UserError(what, where=str(folder), hint="load it with datasets and save it again")
    if not names or any(name != Path(name).name for name in names):
        raise UserError("the saved dataset names no files of its own folder", where=str(folder), hint=COPY_AGAIN)
    if missing := [name for name in names if not os.path.isfile(folder / name)]:
        raise UserError(f"the saved dataset lacks {short(missing[0])}", where=str(folder), hint=COPY_AGAIN)
    return [folder / name for name in names]
