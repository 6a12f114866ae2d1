"""Permanent block of this process's access to the files of a dataset, for models in ``verify --rerun``.

There are two layers. A Python audit hook refuses to open or list files of the dataset by path and by inode, so that
links and ``/proc`` do not help, and notes each attempt. On Linux, Landlock also covers native code and started
programs. Code that runs later in the process cannot undo the block. Only the standard library is imported, since this
module is loaded before everything else.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Callable, Iterable
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colorbench.data import Sample

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Landlock's system call numbers, equal on all architectures."""
_READ_FILE = 1 << 2
_NO_NEW_PRIVILEGES = 38
_MOST_RULES = 20_000
_READS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.chdir", "os.rename", "os.link", "os.symlink", "os.truncate"}
)
_STARTS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"})
"""Audit events of starting other processes, which are refused after the model was loaded."""
_CONNECTS = frozenset({"socket.connect", "socket.bind", "socket.sendto", "sqlite3.connect"})
_MACHINE = tuple(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "meminfo",
        "stat",
        "version",
        "uptime",
        "loadavg",
        "filesystems",
        "devices",
        "driver/",
        "sys/",
    )
)
"""Files about the machine that libraries read when they are loaded, also during a prediction. They contain nothing
about other processes or the dataset."""


class Guard:
    """State of the block: refused accesses, and whether only known folders may be read."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.lock: Callable[[], None] = lambda: None
        """Function that forbids starting processes; afterwards only code, libraries and own files can be read."""


def keep_away(roots: Iterable[str], inodes: Iterable[tuple[int, int]]) -> Guard:
    """Block all files below the roots, and files with these (device, inode), for the rest of this process.

    Args:
        roots: folders.
        inodes: of the files, refused by every path.
    """
    folders = frozenset(os.path.realpath(root) for root in roots)
    files = {(int(device), int(inode)) for device, inode in inodes}
    for folder in folders:
        try:
            files.add((os.stat(folder).st_dev, os.stat(folder).st_ino))
        except OSError:
            continue
    status_of, real_of = os.stat, os.path.realpath  # bound now, since a model may replace functions of the module
    guard = Guard()
    locked = False
    readable = tuple(
        os.path.realpath(path) + os.sep
        for path in {
            sys.prefix,
            sys.base_prefix,
            *sys.path,
            os.getcwd(),
            gettempdir(),
            "/usr",
            "/lib",
            "/lib64",
            "/etc",
        }
        if path
    )
    system = ("/proc/self", f"/proc/{os.getpid()}", *_MACHINE, "/sys/", "/dev/")

    def refuse(what: str) -> None:
        if len(guard.refused) < 20:
            guard.refused.append(what[:300])
        raise PermissionError(f"not permitted during a rerun: {what}")

    def check_path(given: object, event: str) -> None:
        if isinstance(given, int):
            return  # a descriptor, which was checked when it was opened
        path = os.fsdecode(given)  # type: ignore[arg-type]
        if not os.path.isabs(path) and not os.path.lexists(path):
            raise FileNotFoundError(path)  # for example relative to a folder's descriptor
        real = real_of(path)
        if any(real == folder or real.startswith(folder + os.sep) for folder in folders):
            refuse(f"{event} of a file of the dataset")
        try:
            status = status_of(real)
        except OSError:
            return
        if (status.st_dev, status.st_ino) in files:
            refuse(f"{event} of a file of the dataset")
        if real.startswith("/proc/") and not real.startswith(system):
            refuse(f"{event} of {real}")
        if locked and not stat.S_ISFIFO(status.st_mode) and not real.startswith((*readable, *system)):
            refuse(f"{event} of {real}")

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _READS:
            for given in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                if given is not None:
                    check_path(given, event)
        elif locked and (event in _STARTS or event in _CONNECTS):
            refuse(event)

    def lock() -> None:
        nonlocal locked
        locked = True

    guard.lock = lock
    if not any(_within(path, folders) for path in (sys.prefix, sys.base_prefix, *sys.path) if path):
        _landlock(folders)
    sys.addaudithook(hook)
    return guard


def _within(path: str, folders: Iterable[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == folder or real.startswith(folder + os.sep) for folder in folders)


def _landlock(folders: frozenset[str]) -> bool:
    """Restrict this process and its children to files outside the folders; False without kernel support.

    Landlock can only grant access, so access is granted to everything beside the folders and beside each parent folder.
    """
    if sys.platform != "linux" or not folders:
        return False
    beside = _beside(folders)
    if len(beside) > _MOST_RULES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    handled = ctypes.c_uint64(_READ_FILE)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset < 0:
        return False
    try:
        for path in beside:
            try:
                granted = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            # struct landlock_path_beneath_attr is packed: 64 bits of access, 32 of the descriptor.
            attribute = _READ_FILE.to_bytes(8, sys.byteorder) + granted.to_bytes(4, sys.byteorder, signed=True)
            libc.syscall(_ADD_RULE, ruleset, 1, attribute, 0)
            os.close(granted)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return int(libc.syscall(_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)


def _beside(folders: frozenset[str]) -> list[str]:
    """List everything beside the folders and beside each folder above them.

    Links are left out, since they lead elsewhere.
    """
    above = {os.path.dirname(folder) for folder in folders}
    for folder in list(above):
        while folder != os.path.dirname(folder):
            folder = os.path.dirname(folder)
            above.add(folder)
    found = []
    for folder in above:
        if _within(folder, folders):
            continue
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.path not in folders and entry.path not in above and not entry.is_symlink():
                found.append(entry.path)
                if len(found) > _MOST_RULES:
                    return found
    return found


def positions_of(samples: Iterable[Sample]) -> dict[str, Any]:
    """Return what a model may not read: the folders and containers of images, and the (device, inode) of the files."""
    roots: set[str] = set()
    containers: set[str] = set()
    inodes = set()
    for sample in samples:
        path = sample.path.absolute()
        if sample.container is None:
            own = path.as_posix().removesuffix("/" + sample.id)
            roots.add(os.path.realpath(own if own != path.as_posix() else path.parent))
        elif str(path) in containers:
            continue
        else:  # the tar file or table only, since its folder may hold anything
            containers.add(str(path))
            roots.add(os.path.realpath(path))
        try:
            status = path.stat()
        except OSError:
            continue
        inodes.add((status.st_dev, status.st_ino))
    return {"roots": sorted(roots), "inodes": sorted(inodes)}
