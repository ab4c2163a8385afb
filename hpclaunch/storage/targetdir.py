"""The directory that is being written: under a hidden name until it is whole, as `target`."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpclaunch.errors import StorageError
from hpclaunch.storage.target import no_room

__all__ = ["checked_directory", "part_directory"]


def checked_directory(
    path: str | os.PathLike[str], overwrite: bool, ours: Callable[[Path], bool]
) -> Path:
    """The real path of a directory to write.

    Parameters
    ----------
    path : str or path
    overwrite : bool
    ours : callable
        Whether what is there is of the kind that will be written; nothing else is replaced.

    Raises
    ------
    StorageError
        If it exists and must not be replaced.
    FileNotFoundError, PermissionError
        If its parent is missing or not writable.
    """
    target = Path(os.fspath(path)).expanduser().resolve()
    parent = target.parent
    if not parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory to write to", str(parent))
    if target.exists() and not overwrite:
        raise _exists(target)
    if target.exists() and not (target.is_dir() and ours(target)):
        raise StorageError(
            f"{target} is something else than what would be written", hint="give another name"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "this directory is not writable", str(parent))
    return target


@contextmanager
def part_directory(target: Path, overwrite: bool) -> Iterator[Path]:
    """An empty directory beside the target, that takes its name when the block ends well.

    Raises
    ------
    StorageError
        If the disk is full, or the target came into being meanwhile and must not be replaced.
    """
    word = secrets.token_hex(4)
    part = target.with_name(f".{target.name[:200]}.{word}.part")
    old = target.with_name(f".{target.name[:200]}.{word}.old")
    try:
        part.mkdir()
        yield part
        _flush(part)
        if target.exists():
            if not overwrite:
                raise _exists(target)
            target.rename(old)
        try:
            part.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except BaseException as error:
        if isinstance(error, OSError) and (why := no_room(error, target.parent)):
            raise StorageError(f"{target} was not written: {why}") from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _exists(target: Path) -> StorageError:
    return StorageError(f"{target} exists", hint="--overwrite or overwrite=True replaces it")


def _flush(part: Path) -> None:
    for one in part.rglob("*"):
        if one.is_file():
            with one.open("rb") as file:
                os.fsync(file.fileno())
