"""Limits for reading untrusted files, which are checked before anything is unpacked.

They are far above what runs write. They keep the time and memory of a reader in proportion to the size of the file.
"""

from __future__ import annotations

MEGABYTE = 1 << 20
"""Bytes."""

# Files, in bytes.
LARGEST_FILE = 2048 * MEGABYTE
LARGEST_RECORD = 32 * MEGABYTE
LARGEST_REPORT = 16 * MEGABYTE
"""Report of a verification."""
LARGEST_IMAGE = 8 * MEGABYTE
"""Saved image or index of saved images; thumbnails have about 10 KB."""

LARGEST_WEIGHTS = 32 << 30
"""Bytes of a download."""

# JSON.
MOST_VALUES = 1_000_000
"""Values, keys and separators of a JSON file: about 100 bytes of memory each."""
DEEPEST = 60
"""Lists and mappings within one another."""
LONGEST_TEXT = 100_000
"""Characters of one text."""
LARGEST_INTEGER = 1 << 62

# Tables (rows.parquet) and arrays (arrays.npz).
MOST_CELLS = 200_000_000
"""Rows times columns: 1.6 GB as float64, or ten million images with 20 columns."""
MOST_COLUMNS = 5000
MOST_ROW_GROUPS = 1000
LONGEST_ID = 4096
"""Bytes of an id, as for a path."""
LEAST_ROW = 16
"""Bytes of a file per row: 32 bytes of a content hash cannot be compressed."""
UNPACKED_ANYWAY = 16 * MEGABYTE
"""Bytes to which a table may always unpack."""
UNPACKED_SHARE = 100
"""Largest ratio of unpacked bytes to file size of a larger table; usual are 2 to 15."""
LARGEST_FOOTER = 4 * MEGABYTE
"""Bytes of a text in the footer of a table."""
MOST_ARRAYS = 200
ARRAYS_ANYWAY = 64 * MEGABYTE
"""Bytes to which arrays may always unpack."""
ARRAYS_PER_IMAGE = 64 << 10
"""Bytes to which arrays may unpack for each image in addition; AuC has 2 KB."""

# Images.
MOST_REASONS = 1000
"""Reasons why one image was saved, and scores of it."""
LARGEST_SIDE = 4096
"""Pixels of a saved image; predictions of full size have at most this on a page."""

# One record on a page.
MOST_IN_RECORD = {
    "metrics": 200,
    "differences": 5000,
    "curves": 200,
    "notes": 500,
    "shared_weights": 200,
    "model.decoding": 100,
    "model.card.settings": 200,
    "model.card.scores": 200,
    "model.card.pretrained": 100,
    "protocol.identity": 100,
    "protocol.parameters": 100,
    "execution.stage_seconds": 100,
    "provenance.packages": 2000,
    "provenance.command": 10_000,
    "files.arrays": 100,
    "files.saved_images": 20_000,
    "fingerprint.reasons": 100,
}
"""Part of a record -> its largest number of entries. The largest regular record, of a probe, has 50 metrics."""
MOST_POINTS = 100_000
"""Points of all curves of a record."""
