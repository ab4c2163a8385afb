"""How a part of a file is spread over servers: a value, and the choice among several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Stripes", "stripes_at"]

_NOT_READ = {"stale", "parity", "extension", "offline"}


@dataclass(frozen=True)
class Stripes:
    """One component of a file's layout: a range of bytes and how it is striped.

    Attributes
    ----------
    size : int
        Bytes that lie on one server before the next has its turn.
    count : int
        How many targets share the range; -1 for all that there are, 0 where it lies with the
        metadata.
    start : int
        The first byte of the range.
    end : int or None
        The byte behind it; None where it goes on to the end of the file.
    pattern : str
        ``raid0``, ``mdt`` (the data lies with the metadata), ``buddymirror``, ...
    flags : tuple of str
        Of Lustre: ``init``, ``stale``, ``prefer``, ``parity``, ...
    pool : str
    """

    size: int
    count: int
    start: int = 0
    end: int | None = None
    pattern: str = "raid0"
    flags: tuple[str, ...] = ("init",)
    pool: str = ""

    @property
    def used(self) -> bool:
        """Whether reads are served from it."""
        return "init" in self.flags and not _NOT_READ & set(self.flags)

    def holds(self, offset: int) -> bool:
        """Whether a byte lies in its range."""
        return self.start <= offset and (self.end is None or offset < self.end)


def stripes_at(components: Sequence[Stripes], offset: int) -> Stripes | None:
    """The component from which a byte is read; a preferred mirror before the others."""
    here = [one for one in components if one.used and one.holds(offset)]
    here.sort(key=lambda one: not {"prefer", "prefrd"} & set(one.flags))
    return here[0] if here else None
