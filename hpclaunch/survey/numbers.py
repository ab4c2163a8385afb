"""Numbers as schedulers write them; what is none of theirs is None, never an error. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from hpclaunch.survey.findings import FoundNodes
from hpclaunch.units import Memory, Walltime

__all__ = ["clock", "count", "days_clock", "memory", "merged"]

_SIZES = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "pb": 2**50}


def count(text: str | None) -> int | None:
    """A whole number; None for ``UNLIMITED``, ``-`` and whatever else is none."""
    text = (text or "").strip()
    return int(text) if re.fullmatch(r"\d{1,15}", text, re.ASCII) else None


def days_clock(text: str) -> Walltime | None:
    """SLURM's ``D-HH:MM:SS``, ``HH:MM:SS``, ``MM:SS``, or minutes."""
    days, dash, rest = text.strip().rpartition("-")
    parts = [count(part) for part in rest.split(":")]
    if (dash and count(days) is None) or None in parts or len(parts) > 3:
        return None
    numbers = [part or 0 for part in parts]
    if dash:  # D-HH, D-HH:MM, D-HH:MM:SS
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 1:
        hours, minutes, seconds = 0, numbers[0], 0
    else:
        hours, minutes, seconds = (*(0,) * (3 - len(numbers)), *numbers)
    return _walltime((((count(days) or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def clock(text: str | None) -> Walltime | None:
    """PBS's ``HH:MM:SS``, ``MM:SS`` or seconds."""
    parts = [count(part) for part in (text or "").strip().split(":")]
    if None in parts or len(parts) > 3:
        return None
    return _walltime(sum((part or 0) * 60**place for place, part in enumerate(reversed(parts))))


def memory(text: str | None) -> Memory | None:
    """An amount with a unit, one letter or two, powers of 1024 as schedulers count."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?b?)\s*", text or "", re.I | re.ASCII)
    if match is None:
        return None
    unit = match[2].lower() or "b"
    size = _SIZES.get(unit if unit.endswith("b") else f"{unit}b", 1)
    number = int(float(match[1]) * size)
    return Memory(number) if number > 0 else None


def merged(counted: Counter[FoundNodes]) -> tuple[FoundNodes, ...]:
    """Kinds of nodes with their numbers, most numerous first."""
    kinds = [replace(kind, count=number) for kind, number in counted.items()]
    return tuple(sorted(kinds, key=lambda one: (-one.count, one.cores, one.features)))


def _walltime(seconds: int) -> Walltime | None:
    return Walltime(seconds) if seconds > 0 else None
