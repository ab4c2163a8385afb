"""Read chunks with the process's cache of decoded ones between."""

from __future__ import annotations

import itertools

import numpy as np

from hpclaunch.errors import CorruptFile
from hpclaunch.storage.chunkcache import Flight, cache
from hpclaunch.storage.chunked import ChunkedRead
from hpclaunch.storage.job import Job
from hpclaunch.storage.requests import Request, coalesce

__all__ = ["CachedRead"]

_PATIENCE = 60.0
"""Seconds for another call to decode a chunk, before it is done here: it may have been killed."""


class CachedRead(ChunkedRead):
    """One selection; chunks of which it takes a part are looked for in the process's cache.

    Parameters
    ----------
    job : Job
    budget : int
        Bytes that the cache may hold.
    keep : bool
        Put chunks there that are not.
    """

    def __init__(self, job: Job, *, budget: int, keep: bool) -> None:
        super().__init__(job)
        flags = [
            [p.count >= min(c, n - p.chunk * c) for p in ps]
            for ps, c, n in zip(self.pieces, self.chunks, self.layout.shape, strict=True)
        ]
        self.partial = [not all(one) for one in itertools.product(*flags)]
        self.deferred: list[tuple[int, Flight]] = []
        self.file = cache.file(self.source.identity)
        self.budget = budget
        self.keep = keep

    def work(self, bundle: list[Request]) -> None:
        """Read what some requests bring, and place it."""
        for request in bundle:
            self._shared(request)

    def _shared(self, request: Request) -> None:
        everything = range(request.start, request.stop)
        asked = [j for j in everything if self.partial[self.ks[j]]]
        ready, mine, others = cache.take(self.file, [self.offsets[j] for j in asked], self.keep)
        claimed = {asked[position] for position in mine}
        found = {asked[position] for position, _ in (*ready, *others)}
        try:
            for position, data in ready:
                self._pick(self.ks[asked[position]], data)
            self.deferred += [(asked[position], flight) for position, flight in others]
            self._fetch([j for j in everything if j not in found], claimed)
        finally:
            for j in claimed:
                cache.land(self.file, self.offsets[j], None, self.budget)

    def _fetch(self, js: list[int], claimed: set[int]) -> None:
        """Read and place chunks; those claimed are given to the cache and taken off `claimed`."""
        offsets, sizes = [self.offsets[j] for j in js], [self.sizes[j] for j in js]
        gap = 1 << 20 if self.source.far else 1 << 16
        for one in coalesce(offsets, sizes, request=1 << 62, gap=gap):
            view, _ = self._read([one])
            here = js[one.start : one.stop]
            self._place([([j for j in here if j not in claimed], one.offset)], view)
            for j in here:
                if j in claimed:
                    at = self.offsets[j] - one.offset
                    data = self._fresh(j, view[at : at + self.sizes[j]])
                    cache.land(self.file, self.offsets[j], data, self.budget)
                    claimed.discard(j)
                    self._pick(self.ks[j], data)

    def _fresh(self, j: int, stored: memoryview) -> np.ndarray:
        """A decoded chunk in memory of its own."""
        mask = self.masks[self.ks[j]] if self.masks is not None else 0
        data = np.empty(self.size, np.uint8)
        try:
            self.pipeline.decode_into(stored, mask, data, data.ctypes.data)
        except CorruptFile as wrong:
            self.source.check()
            raise self.corrupt(j, wrong.what) from None
        return self._shaped(data)

    def finish(self) -> None:
        """Wait for chunks that other calls were decoding, and place them."""
        for j, flight in self.deferred:
            flight.landed.wait(_PATIENCE)
            if flight.data is not None:
                self._pick(self.ks[j], flight.data)
            else:
                self._fetch([j], set())
