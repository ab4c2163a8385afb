"""One variable of many files as one lazy array."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from xarray.backends.common import BackendArray
from xarray.core import indexing

from hpclaunch.storage.cores import threads_here
from hpclaunch.storage.job import Decoding
from hpclaunch.storage.lazy import LazyArray
from hpclaunch.storage.pool import run
from hpclaunch.storage.remote import IN_FLIGHT

__all__ = ["JoinedArray"]


class JoinedArray(BackendArray):
    """Lazy arrays in a row along one axis.

    Parameters
    ----------
    parts : sequence of LazyArray
        Of one dtype, and of one shape but for `axis`.
    axis : int
    """

    def __init__(self, parts: Sequence[LazyArray], axis: int) -> None:
        self.parts = tuple(parts)
        self.axis = axis
        lengths = (one.shape[axis] for one in self.parts)
        self.starts = list(itertools.accumulate(lengths, initial=0))
        shape = list(self.parts[0].shape)
        shape[axis] = self.starts[-1]
        self.shape = tuple(shape)
        self.dtype = self.parts[0].dtype

    def decoded(self, decoding: Decoding) -> JoinedArray:
        """The same variable, its values decoded."""
        return JoinedArray([one.decoded(decoding) for one in self.parts], self.axis)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self.outer
        )

    def outer(self, key: tuple[Any, ...]) -> Any:
        """What a key of one index per dimension selects, each for its own dimension."""
        one = key[self.axis]
        if isinstance(one, int | np.integer):
            place = self._place(np.asarray(one % self.shape[self.axis])).item()
            return self._part(key, place, int(one) % self.shape[self.axis] - self.starts[place])
        wanted = list(_by_part(one, self.starts))
        if len(wanted) == 1:
            place, here, _ = wanted[0]
            return self._part(key, place, here)
        return self._together(key, wanted)

    def _place(self, positions: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.searchsorted(self.starts, positions, side="right") - 1
        return found

    def _part(self, key: tuple[Any, ...], place: int, here: Any) -> Any:
        return self.parts[place].outer(self._inner(key, here))

    def _inner(self, key: tuple[Any, ...], here: Any) -> tuple[Any, ...]:
        """The key within one file."""
        return (*key[: self.axis], here, *key[self.axis + 1 :])

    def _together(self, key: tuple[Any, ...], wanted: list[tuple[int, Any, Any]]) -> np.ndarray:
        """What several files hold, read side by side into one array."""
        lengths = [
            _length(one, n)
            for one, n in zip(key, self.shape, strict=True)
            if not isinstance(one, int | np.integer)
        ]
        axis = sum(not isinstance(one, int | np.integer) for one in key[: self.axis])
        before = (slice(None),) * axis
        out = np.empty(lengths, self.dtype)

        def work(job: tuple[int, Any, Any]) -> None:
            place, here, there = job
            if isinstance(there, slice):
                self.parts[place].read_into(self._inner(key, here), out[(*before, there)])
            else:
                out[(*before, there)] = self._part(key, place, here)

        far = self.parts[0].origin.remote is not None
        run(wanted, work, threads_here() + (IN_FLIGHT if far else 0))
        return out


def _length(one: Any, n: int) -> int:
    return len(range(*one.indices(n))) if isinstance(one, slice) else len(one)


def _by_part(key: Any, starts: list[int]) -> list[tuple[int, Any, Any]]:
    """For each file that a key touches: its place, the key within it, and where the values go.

    A key that touches none gives an empty one within the first file.
    """
    total = starts[-1]
    if isinstance(key, slice):
        first, stop, step = key.indices(total)
        if step > 0:
            return _forward(range(first, stop, step), starts)
        key = np.arange(first, stop, step)
    positions = np.asarray(key)
    positions = np.where(positions < 0, positions + total, positions)
    places = np.searchsorted(starts, positions, side="right") - 1
    if not positions.size:
        return [(0, positions, slice(0, 0))]
    return [
        (int(place), positions[at] - starts[place], at)
        for place in np.unique(places)
        for at in (np.flatnonzero(places == place),)
    ]


def _forward(wanted: range, starts: list[int]) -> list[tuple[int, Any, Any]]:
    """`_by_part` of a slice that runs forward."""
    if not wanted:
        return [(0, slice(0, 0), slice(0, 0))]
    low = bisect.bisect(starts, wanted[0]) - 1
    high = bisect.bisect(starts, wanted[-1]) - 1
    found: list[tuple[int, Any, Any]] = []
    done = 0
    for place, (start, end) in enumerate(itertools.pairwise(starts[low : high + 2]), low):
        here = wanted[done:]
        count = min(len(here), max(0, -(-(end - here.start) // wanted.step)))
        if count == 0:
            continue
        first = here.start - start
        last = first + (count - 1) * wanted.step + 1
        found.append((place, slice(first, last, wanted.step), slice(done, done + count)))
        done += count
    return found
