"""How many threads may decode, and how much memory there is."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

__all__ = ["cores", "memory", "threads_here"]

_CGROUP = Path("/sys/fs/cgroup")


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
    limit = _first_word(_CGROUP / "memory.max")
    return min(found, int(limit)) if limit.isdigit() else found


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
    """Whole cores of the control group's quota, rounded up; 0 where there is none."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return 0


def _first_word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
