"""A nameless file between two passes: values cut at slabs, read back slab by slab."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.slabs import Region, overlap

__all__ = ["Spill"]


class Spill:
    """Holds a variable in the order in which its slabs are wanted.

    The file has no name, so that nothing is left of it however the process ends.

    Parameters
    ----------
    folder : Path
        Where it is made.
    dtype : numpy.dtype
    filled, wanted : sequence of regions
        The slabs in which values come, and those in which they are read back.

    Raises
    ------
    StorageError
        If the filesystem has less room than the values take.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype[Any],
        filled: Sequence[Region],
        wanted: Sequence[Region],
    ) -> None:
        self._dtype, self._filled, self._wanted = dtype, filled, wanted
        sizes = [_count(region) * dtype.itemsize for region in wanted]
        self._begins = list(accumulate(sizes, initial=0))
        self._used = [0] * len(wanted)
        self._places: dict[tuple[int, int], int] = {}
        self.nbytes = self._begins[-1]
        free = os.statvfs(folder)
        if free.f_bavail * free.f_frsize < self.nbytes:
            raise StorageError(
                f"{folder} has no room for {self.nbytes / 2**30:.1f} GiB between two passes",
                hint="give more memory, so that fewer passes are needed, or write elsewhere",
            )
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def put(self, index: int, values: np.ndarray) -> None:
        """Take the slab `filled[index]`."""
        mine = self._filled[index]
        for j, theirs in enumerate(self._wanted):
            both = overlap(mine, theirs)
            if both is None:
                continue
            piece = np.ascontiguousarray(values[_within(both, mine)])
            self._places[j, index] = place = self._begins[j] + self._used[j]
            self._used[j] += piece.nbytes
            _write(self._file.fileno(), piece.reshape(-1).view(np.uint8).data, place)

    def get(self, index: int) -> np.ndarray:
        """Return the slab `wanted[index]`, when everything has been put."""
        mine = self._wanted[index]
        values = np.empty([s.stop - s.start for s in mine], self._dtype)
        for i, theirs in enumerate(self._filled):
            both = overlap(mine, theirs)
            if both is None:
                continue
            piece = np.empty([s.stop - s.start for s in both], self._dtype)
            view = piece.reshape(-1).view(np.uint8).data
            _read(self._file.fileno(), view, self._places[index, i])
            values[_within(both, mine)] = piece
        return values

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _count(region: Region) -> int:
    return math.prod(s.stop - s.start for s in region)


def _within(both: Region, mine: Region) -> Region:
    return tuple(
        slice(b.start - m.start, b.stop - m.start) for b, m in zip(both, mine, strict=True)
    )


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


def _read(descriptor: int, into: memoryview, offset: int) -> None:
    while into:
        done = os.preadv(descriptor, [into], offset)
        if not done:
            raise StorageError("the file between two passes was cut short")
        into, offset = into[done:], offset + done
