"""What is measured on to advise, and what came of it: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpclaunch.storage.advice import Gain
from hpclaunch.storage.chunking import Access
from hpclaunch.storage.layout import Variable
from hpclaunch.storage.sampling import gain_of

__all__ = ["ADVISED", "OTHERS", "PIECES", "TUNED", "USUAL", "Sample", "Subject"]

ADVISED, TUNED, USUAL, PIECES = "advised", "tuned", "usual", "pieces"

OTHERS = {
    TUNED: "engine netcdf4 with the sample in one block",
    USUAL: "engine netcdf4 with xarray's chunks={}",
    PIECES: "engine hpclaunch with chunks={}",
}
"""What the advised way is compared with, in words."""


@dataclass(frozen=True)
class Subject:
    """What is read.

    Attributes
    ----------
    paths : tuple of str
        Files that are laid out alike.
    group : str
    variable : Variable
        In the first file.
    block : tuple of int
        Elements per dimension, as advised.
    pattern : {"map", "series", "all"}
    threads : int
    """

    paths: tuple[str, ...]
    group: str
    variable: Variable
    block: tuple[int, ...]
    pattern: Access
    threads: int


@dataclass(frozen=True)
class Sample:
    """What was read to measure on.

    Attributes
    ----------
    variable : str
    paths : tuple of str
    region : tuple of int
        Elements per dimension of each file, from the first on.
    decoded, stored : int
        Bytes of that: decoded, and in the files. One trial reads as much at most.
    threads : int
    warm : float or None
        The share of the first look's first file that was in the page cache beforehand; None where
        the system does not tell.
    rounds : int
    seconds : float
        All in all.
    times : dict
        Way of reading to its seconds in each round.
    first : dict
        Way of reading to its seconds in a first look at a smaller part. Ways that are too slow to
        be repeated are only here.
    """

    variable: str
    paths: tuple[str, ...]
    region: tuple[int, ...]
    decoded: int
    stored: int
    threads: int
    warm: float | None
    rounds: int
    seconds: float
    times: Mapping[str, tuple[float, ...]]
    first: Mapping[str, float]

    def gain(self, other: str, *, advised: str = ADVISED) -> Gain | None:
        """Of one way over another; by the first look where one was too slow for more."""
        mine, its = self.times.get(advised), self.times.get(other)
        if mine and its:
            return gain_of(mine, its, OTHERS[other])
        if advised in self.first and other in self.first:
            return gain_of([self.first[advised]], [self.first[other]], OTHERS[other])
        return None
