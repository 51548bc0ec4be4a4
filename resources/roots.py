"""Opening files that somebody else put there: the only way from a path to bytes of the landing zone.

Belongs here: confined opening below a root, opening a single named file, listing a root, and telling a fault of the
storage (dead mount, I/O error, lost permission) from a fault of one file. Does not belong here: what the bytes mean.

A check of `os.path.realpath` followed by `open` can be raced; here every component is opened relative to the one before
with `O_NOFOLLOW`, so that no symbolic link below the root is ever followed; `O_NONBLOCK` keeps a FIFO from blocking.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 64

STORAGE_ERRNOS = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.ENODEV, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EREMOTEIO, errno.ESHUTDOWN,
    }
)  # fmt: skip
"""Error numbers that accuse the storage or this machine, never the one file: retry and alert, quarantine nothing."""


class PathRefused(Exception):
    """This path is not, or not safely, a regular file: the fault of the one path.

    Attributes
    ----------
    path : the path as it was given.
    reason : what is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path!r}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[PathRefused], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class StorageFault(OSError):
    """The storage failed (I/O error, stale mount, lost permission, missing root): retry later, quarantine nothing."""

    def __init__(self, number: int, message: str, path: str) -> None:
        super().__init__(number, message, path)

    def __reduce__(self) -> tuple[type[StorageFault], tuple[int, str, str]]:
        return type(self), (self.errno or errno.EIO, self.strerror or "", str(self.filename))


@dataclass(frozen=True)
class FileStat:
    """One regular file below a root: `path` relative to the root with forward slashes, size in bytes, mtime in ns."""

    path: str
    size: int
    mtime_ns: int


def storage_fault(error: OSError, path: str) -> StorageFault | None:
    """The StorageFault that `error` stands for, or None when it is a fault of the one file."""
    if isinstance(error, StorageFault):
        return error
    if error.errno in STORAGE_ERRNOS:
        return StorageFault(error.errno or errno.EIO, error.strerror or str(error), path)
    return None


def _refusal(error: OSError, path: str, component: str) -> Exception:
    fault = storage_fault(error, path)
    if fault is not None:
        return fault
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return PathRefused(path, f"{component!r} is a symbolic link, which is never followed")
    if error.errno == errno.ENOENT:
        return PathRefused(path, f"{component!r} does not exist")
    if error.errno == errno.ENOTDIR:
        return PathRefused(path, f"{component!r} is a symbolic link or not a folder")
    if error.errno == errno.ENXIO:
        return PathRefused(path, "not a regular file but a socket or FIFO")
    return PathRefused(path, error.strerror or str(error))


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"), (stat.S_ISBLK, "a block device"),
    )  # fmt: skip
    return next((name for test, name in kinds if test(mode)), "something else")


def _regular(fd: int, path: str) -> BinaryIO:
    """Wrap `fd` as an unbuffered reader after checking that it is a regular file; closes it otherwise."""
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise PathRefused(path, f"not a regular file but {_kind(mode)}")
        os.set_blocking(fd, True)
        return io.FileIO(fd, "rb", closefd=True)
    except BaseException:
        os.close(fd)
        raise


def components(relative: str) -> list[str]:
    """The components of a relative path; raises PathRefused for absolute paths, "..", NUL and empty paths."""
    if not relative:
        raise PathRefused(relative, "the path is empty")
    if "\0" in relative:
        raise PathRefused(relative, "the path holds a NUL character")
    if relative.startswith("/"):
        raise PathRefused(relative, "the path is absolute; it must be relative to its root")
    parts = [part for part in relative.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PathRefused(relative, "the path climbs with '..'")
    if not parts:
        raise PathRefused(relative, "the path names the root itself")
    if len(parts) > _MAX_DEPTH:
        raise PathRefused(relative, f"the path is deeper than {_MAX_DEPTH} folders")
    return parts


def _open_root(root: Path) -> int:
    try:
        # The root itself may be reached through links: it is configuration, not somebody's upload.
        return os.open(root, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
    except OSError as error:
        raise StorageFault(error.errno or errno.EIO, f"root not readable: {error.strerror}", str(root)) from error


def open_confined(root: Path, relative: str) -> BinaryIO:
    """Open a regular file below `root`, component by component, following no link and never blocking.

    Parameters
    ----------
    root : the folder that confines; it may itself be reached through links.
    relative : path below it with forward slashes.

    Returns
    -------
    An unbuffered binary reader with a real file descriptor; the caller closes it.

    Raises
    ------
    PathRefused : "..", absolute, NUL, symbolic link, FIFO, device, folder, missing file.
    StorageFault : the root is missing, or the storage answers with an error such as EIO, ESTALE or EACCES.
    """
    parts = components(relative)
    folder = _open_root(root)
    try:
        for part in parts[:-1]:
            try:
                below = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            except OSError as error:
                raise _refusal(error, relative, part) from error
            os.close(folder)
            folder = below
        try:
            fd = os.open(parts[-1], _FILE_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
        except OSError as error:
            raise _refusal(error, relative, parts[-1]) from error
    finally:
        os.close(folder)
    return _regular(fd, relative)


def open_any(path: Path | str) -> BinaryIO:
    """Open a file that a person named, anywhere: links are followed, but only to a regular file and never blocking.

    Raises PathRefused (missing, FIFO, device, folder) or StorageFault, like `open_confined`.
    """
    name = os.fspath(path)
    if "\0" in name:
        raise PathRefused(name, "the path holds a NUL character")
    try:
        fd = os.open(name, _FILE_FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PathRefused(name, "too many symbolic links, or a link to itself") from error
        raise _refusal(error, name, os.path.basename(name) or name) from error  # noqa: PTH119
    return _regular(fd, name)


def scan(root: Path, *, suffixes: Collection[str] | None = None, max_files: int | None = None) -> Iterator[FileStat]:
    """List the regular files below `root` in a stable order (by name, folder by folder), never following a link.

    Parameters
    ----------
    root : folder to list.
    suffixes : lower-case suffixes to keep (".wav"); None keeps all.
    max_files : stop after so many files; None lists all.

    Raises
    ------
    StorageFault : the root or a folder below it cannot be listed. A listing is complete or it fails: a half-read
        folder must never look like vanished files. A file or folder that disappears meanwhile is left out.
    """
    found = 0
    waiting: deque[str] = deque([""])
    while waiting:
        prefix = waiting.popleft()
        files, folders = _list_folder(root, prefix)
        for item in files:
            if suffixes is not None and os.path.splitext(item.path)[1].lower() not in suffixes:  # noqa: PTH122
                continue
            if max_files is not None and found >= max_files:
                return
            found += 1
            yield item
        waiting.extend(folders)


def _open_folder(root: Path, prefix: str) -> int | None:
    """A descriptor of the folder, or None when it vanished or became a link meanwhile."""
    folder = _open_root(root)
    for part in prefix.split("/")[:-1]:
        try:
            below = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
        except OSError as error:
            fault = storage_fault(error, f"{root}/{prefix}")
            if fault is not None:
                raise fault from error
            return None
        finally:
            os.close(folder)
        folder = below
    return folder


def _list_folder(root: Path, prefix: str) -> tuple[list[FileStat], list[str]]:
    folder = _open_folder(root, prefix)
    if folder is None:
        return [], []
    files: list[FileStat] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    files.append(FileStat(prefix + entry.name, status.st_size, status.st_mtime_ns))
                elif stat.S_ISDIR(status.st_mode) and prefix.count("/") < _MAX_DEPTH:
                    folders.append(f"{prefix}{entry.name}/")
    except OSError as error:
        raise StorageFault(
            error.errno or errno.EIO, f"folder not readable: {error.strerror}", f"{root}/{prefix}"
        ) from error
    finally:
        os.close(folder)
    return files, folders
