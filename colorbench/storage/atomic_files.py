"""Atomic writing of files, and one-line errors for full or read-only disks."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import IO
from uuid import uuid4

from colorbench.errors import RunError, UserError, write_error

_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
_BINARY = getattr(os, "O_BINARY", 0)  # otherwise Windows would convert line ends


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system, while files are written in a context, into one line.

    Raises:
        RunError: for a full disk, or a disk or network file system that fails.
        UserError: for a path that cannot be written, or if a file or folder is in the way.
        FileNotFoundError: if the folder vanished, which the caller may expect.
        OSError: for a connection that fails while the written bytes are received; the file is not at fault.
    """
    try:
        yield
    except (FileNotFoundError, ConnectionError):
        raise
    except OSError as error:
        if error.errno is None:  # raised by a library for its network, not by the operating system for a file
            raise
        if (shown := write_error(error, str(path))) is not None:
            raise shown from error
        if error.errno in _NO_FOLDER:
            found, needed = ("folder", "file") if error.errno == errno.EISDIR else ("file", "folder")
            what = f"there is a {found} where a {needed} is needed"
            raise UserError(what, where=str(path), hint="use another --output") from error
        hint = "check the disk, then run the same command to resume"
        raise RunError(f"cannot write: {error.strerror or error}", where=str(path), hint=hint) from error


def check_writable(output: Path, flag: str = "--output") -> None:
    """Create the output folder and check that it is writable, before any long work.

    Raises:
        UserError: if nothing can be written there.
    """
    try:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=output) as trial:  # without a name, so that a kill leaves nothing behind
                trial.write(b"colorbench")
    except OSError as error:  # any error means that the folder cannot be used
        what = f"cannot write: {error.strerror}"
        raise UserError(what, where=str(output), hint=f"use another {flag}") from error


def write_atomic(
    path: Path, data: bytes, *, scratch: Path | None = None, durable: bool = True, private: bool = False
) -> None:
    """Write a file atomically; see ``atomic_file``."""
    with atomic_file(path, scratch=scratch, durable=durable, private=private) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(
    path: Path, *, scratch: Path | None = None, durable: bool = True, private: bool = False
) -> Iterator[IO[bytes]]:
    """Open a file for atomic writing: after a kill or (``durable``) a power cut it is complete or missing.

    Args:
        path: path of the file; folders are created.
        scratch: folder for the unfinished file, on the same file system; default: the same folder.
        durable: wait until it is on disk.
        private: make it readable only for its owner.
    """
    folder = scratch or path.parent
    unfinished = folder / f".{path.name[:40]}.{uuid4().hex}.tmp"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o600 if private else 0o666)
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)


def write_once(path: Path, data: bytes, *, scratch: Path | None = None) -> bool:
    """Write a file atomically, without replacing an existing one.

    Returns:
        False, without writing, if the file exists already.
    """
    unfinished = (scratch or path.parent) / f".{path.name[:40]}.{uuid4().hex}.tmp"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(unfinished, data)
    try:
        # A link never replaces a file, even if another process writes at the same moment.
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here (FAT, some network disks)
        if path.exists():
            return False
        rename(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def rename(path: Path, target: Path) -> None:
    """Rename a file atomically, replacing ``target``."""
    with writing(path):
        os.replace(path, target)


def set_aside(path: Path, folder: Path | None = None) -> Path:
    """Rename a damaged file, or what is in its place, to a name that is not used; return it.

    Args:
        path: of the file.
        folder: for the new name, on the same file system; default: the same folder.
    """
    aside = (folder or path.parent) / f"{path.stem}.damaged-{uuid4().hex[:8]}{path.suffix}"
    rename(path, aside)
    return aside


def durable_sha256(path: Path) -> str:
    """Wait until a file is on disk, and return the hexadecimal sha256 of its bytes.

    Used for files that were written without waiting, before a record stores their hash: otherwise a file could be empty
    after a power cut although its record exists.
    """
    with open(path, "rb") as file:
        with contextlib.suppress(OSError):  # a file system without fsync
            os.fsync(file.fileno())
        return file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Sync the folder of files that were renamed, so that this survives a power cut, if the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
