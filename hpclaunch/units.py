"""Memory and walltime: numbers with one meaning, and the text that people and schedulers write.

Memory is held in bytes, walltime in whole seconds. ``GB`` means 10**9 and ``GiB`` means 2**30;
SLURM's own ``G`` is 2**30, so the spelling for a scheduler always goes through `Memory.in_mib`
and never through the text a person typed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast, get_args

__all__ = ["Memory", "MemoryAs", "Walltime", "memory_as"]

MemoryAs = Literal["node", "core", "whole", "none"]
"""How memory is asked for: of each node, of each core (rounded up), as all memory of each node, or
not at all, where a site refuses to be asked."""

_WRITTEN = {
    "TiB": 2**40,
    "TB": 10**12,
    "GiB": 2**30,
    "GB": 10**9,
    "MiB": 2**20,
    "MB": 10**6,
    "KiB": 2**10,
    "KB": 10**3,
    "B": 1,
}
_BYTES = {
    **{name.upper(): size for name, size in _WRITTEN.items()},
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", re.ASCII)
_SPOKEN = re.compile(
    r"(?:(\d+)\s*d)?\s*(?:(\d+)\s*h)?\s*(?:(\d+)\s*m(?:in)?)?\s*(?:(\d+)\s*s)?", re.ASCII
)


@dataclass(frozen=True, order=True)
class Memory:
    """An amount of memory.

    Attributes
    ----------
    bytes : int
        Bytes, more than zero.
    """

    bytes: int

    def __post_init__(self) -> None:
        if self.bytes <= 0:
            raise ValueError(f"memory must be more than 0 bytes, not {self.bytes}")

    @classmethod
    def parse(cls, text: str) -> Memory:
        """Read ``"4 GB"``, ``"4GiB"`` or ``"500M"`` (one letter is binary, as in SLURM).

        A number without a unit is refused: it is bytes to Dask and megabytes to SLURM.

        Raises
        ------
        ValueError
            If the text is no amount of memory, or has no unit.

        Examples
        --------
        >>> Memory.parse("1.5 GiB").bytes
        1610612736
        """
        match = _MEMORY.fullmatch(text.strip())
        factor = _BYTES.get(match[2].upper()) if match else None
        if match is None or factor is None:
            raise ValueError(f"{text!r} is not an amount of memory; write for example '4 GB'")
        return cls(int(Fraction(match[1]) * factor))

    def in_mib(self) -> int:
        """Whole MiB, rounded up, so that the scheduler never grants less than was asked."""
        return -(-self.bytes // 2**20)

    def __str__(self) -> str:
        """In the largest unit that needs at most three decimals; `parse` reads it back exactly."""
        for name, size in _WRITTEN.items():
            thousandths, rest = divmod(self.bytes * 1000, size)
            if self.bytes >= size and rest == 0:
                whole, decimals = divmod(thousandths, 1000)
                return f"{whole}.{decimals:03d}".rstrip("0").rstrip(".") + f" {name}"
        raise AssertionError("whole bytes are always written")


@dataclass(frozen=True, order=True)
class Walltime:
    """How long a job may run.

    Attributes
    ----------
    seconds : int
        Seconds, more than zero.
    """

    seconds: int

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"a walltime must be more than 0 seconds, not {self.seconds}")

    @classmethod
    def parse(cls, text: str) -> Walltime:
        """Read ``"2:30:00"``, ``"1-12:00:00"``, ``"90m"``, ``"2h30m"`` or ``"1d"``.

        ``"10:30"`` is refused: SLURM reads minutes and seconds there, LSF hours and minutes.

        Raises
        ------
        ValueError
            If the text is no walltime, or one with two meanings.

        Examples
        --------
        >>> Walltime.parse("1-02:00:00").seconds
        93600
        """
        text = text.strip()
        match = _CLOCK.fullmatch(text) or _SPOKEN.fullmatch(text)
        if match is None or not text:
            raise ValueError(f"{text!r} is not a walltime; write HH:MM:SS, D-HH:MM:SS or 2h30m")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return cls(((days * 24 + hours) * 60 + minutes) * 60 + seconds)

    def clock(self) -> str:
        """``HH:MM:SS``, hours beyond 24 where needed; SLURM, PBS and people all read it."""
        minutes, seconds = divmod(self.seconds, 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"

    def __str__(self) -> str:
        return self.clock()


def memory_as(text: str) -> MemoryAs:
    """Read one of the words of `MemoryAs`.

    Raises
    ------
    ValueError
        If it is none.
    """
    if text not in get_args(MemoryAs):
        raise ValueError(f"memory is asked for as {', '.join(get_args(MemoryAs))}, not {text!r}")
    return cast(MemoryAs, text)
