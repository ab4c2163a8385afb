"""How many threads may decode, and how much memory there is."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["cores", "memory", "threads_here"]

_CGROUP, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@functools.cache
def cores() -> int:
    """The cores that this process may use: affinity, and the quota of its control group."""
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        found = os.cpu_count() or 1
    quota = _quota()
    return max(1, min(found, quota) if quota else found)


@functools.cache
def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or those of its control group."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        found = 8 << 30
    names = ("memory.max", "memory.limit_in_bytes")
    limits = [_text(group / name) for group in _groups("memory") for name in names]
    return min([found, *(int(limit) for limit in limits if limit.isdigit())])


def threads_here() -> int:
    """How many threads may decode now: those of the Dask worker this runs on, else the cores."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            return max(1, int(distributed.get_worker().state.nthreads))
        except (ValueError, AttributeError):
            pass
    return cores()


def _quota() -> int:
    """Whole cores of the smallest quota above this process, rounded up; 0: there is none."""
    found = []
    for group in _groups("cpu"):
        older = f"{_text(group / 'cpu.cfs_quota_us')} {_text(group / 'cpu.cfs_period_us')}"
        for text in (_text(group / "cpu.max"), older):
            quota, _, period = text.partition(" ")
            if quota.isdigit() and period.isdigit() and int(period):
                found.append(max(1, -(-int(quota) // int(period))))
    return min(found, default=0)


def _groups(controller: str) -> Iterator[Path]:
    """The control groups of this process, each from its own up to the root: any may have a limit.

    Sources: cgroups(7), "/proc/pid/cgroup"; the kernel's cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    yield _CGROUP
    for line in _text(_OWN).splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if names and controller not in names.split(","):
            continue
        own = PurePosixPath(path.lstrip("/"))
        if ".." in own.parts:  # outside of this namespace
            own = PurePosixPath()
        for top in {_CGROUP / names, _CGROUP / controller} if names else {_CGROUP}:
            yield from (top / one for one in (own, *own.parents))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
