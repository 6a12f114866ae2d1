"""Modules that a command loads, in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = """
import json, sys
from colorbench.cli import main
code = None
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]))
"""


def loaded_modules(arguments: Sequence[object], folder: Path) -> tuple[int | None, set[str], str]:
    """Run ``colorbench`` with arguments in a folder.

    Returns:
        Its exit code, the names of the modules that it loaded, and what it printed.
    """
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    code, names = json.loads(done.stdout.splitlines()[-1])
    return code, set(names), printed
