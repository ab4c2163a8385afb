"""The mount table: which file system holds a path. Pure, but for two questions to the kernel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mount", "magic_of", "mount_of", "read_mountinfo", "this_mountinfo"]


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)).

    Attributes
    ----------
    id, parent : int
        Its number, and that of the mount in which its mount point lies.
    device : str
        ``major:minor``.
    root : str
        What of the file system is mounted: not ``/`` where it is a bind mount or a subvolume.
    point : str
    type : str
    source : str
        A device, a server's export, a name, ...
    options : str
        Those of the mount and of the file system, with commas.
    """

    id: int
    parent: int
    device: str
    root: str
    point: str
    type: str
    source: str
    options: str


def read_mountinfo(text: str) -> tuple[Mount, ...]:
    """Read a mount table; a line that is none is left out."""
    return tuple(mount for line in text.splitlines() if (mount := _mount(line.split(" "))))


def _mount(words: list[str]) -> Mount | None:
    try:
        dash = words.index("-", 6)
        type, source, *more = words[dash + 1 :]
        number, parent = int(words[0]), int(words[1])
    except ValueError:
        return None
    options = ",".join((words[5], *more))
    root, point, source = map(_plain, (words[3], words[4], source))
    return Mount(number, parent, words[2], root, point, type, source, options)


def _plain(word: str) -> str:
    """Undo the kernel's octal escapes: blank, tab, newline and backslash, as bytes of UTF-8."""
    if "\\" not in word:
        return word
    raw = re.sub(
        rb"\\([0-3][0-7]{2})",
        lambda match: bytes([int(match[1], 8)]),
        word.encode(errors="surrogateescape"),
    )
    return raw.decode(errors="surrogateescape")


def mount_of(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that holds a path.

    The path is walked as the kernel does it, from mount to mount: the longest mount point wins, but
    for one that a later mount over its parent hides.

    Parameters
    ----------
    mounts : sequence of Mount
    path : str
        Absolute, without symbolic links.
    """
    known = {mount.id for mount in mounts}

    def above(mount: Mount) -> int | None:
        return mount.parent if mount.parent in known and mount.parent != mount.id else None

    holding = [mount for mount in reversed(mounts) if _holds(mount.point, path)]
    at: int | None = None
    found: Mount | None = None
    for _ in holding:
        inside = [mount for mount in holding if above(mount) == at]
        if not inside:
            break
        found = min(inside, key=lambda mount: len(mount.point))
        at = found.id
    return found


def _holds(point: str, path: str) -> bool:
    return point == "/" or path == point or path.startswith(point + "/")


def this_mountinfo() -> str:
    """The mount table of this process; "" where the system has none."""
    try:
        raw = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return ""
    return raw.decode(errors="surrogateescape")


def magic_of(path: str) -> int | None:
    """``f_type`` of statfs(2), the first word of what it fills in; None where it cannot be had."""
    import ctypes
    import os
    import sys

    if not sys.platform.startswith("linux"):
        return None
    room = ctypes.create_string_buffer(512)
    try:
        failed = ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), room)
    except (OSError, AttributeError):
        return None
    return None if failed else int(ctypes.c_ulong.from_buffer(room).value)
