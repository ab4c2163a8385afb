"""Read the chunks that a selection touches, decode them, put them where they belong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from ctypes import addressof, c_char
from typing import Any, NoReturn

import numpy as np

from hpclaunch.errors import CorruptFile
from hpclaunch.storage.boxes import Boxes
from hpclaunch.storage.buffers import borrowed
from hpclaunch.storage.decode import Pipeline
from hpclaunch.storage.job import Job, fill_value
from hpclaunch.storage.layout import NOWHERE
from hpclaunch.storage.pace import pace
from hpclaunch.storage.requests import Request
from hpclaunch.storage.selection import outer, straight

__all__ = ["SMALL", "ChunkedRead"]

SMALL = 1 << 15
"""Bytes of a chunk up to which chunks are decoded and placed many at a time."""

_AT_ONCE = 1 << 18  # bytes of those: what stays in the processor's second cache
_ENOUGH = 1 << 18  # bytes of a read that need not go through a buffer


class ChunkedRead:
    """One selection of a chunked variable.

    Chunks are counted in the order of the selection, ``k``; requests count them in the order of the
    file, ``j``, and ``ks[j]`` is the ``k``.

    Parameters
    ----------
    job : Job
    """

    def __init__(self, job: Job) -> None:
        layout, selection, out = job.layout, job.selection, job.out
        assert layout.chunks is not None
        self.source = job.source
        self.layout = layout
        self.chunks = layout.chunks
        self.out = out
        self.where = job.where
        self.decoding = job.decoding
        self.pieces = selection.pieces
        self.size = layout.chunk_bytes
        self.pipeline = Pipeline(layout.filters, self.size, layout.dtype.itemsize)
        self.outs = list(itertools.product(*[[p.outside for p in ps] for ps in self.pieces]))
        self.ins = list(itertools.product(*[[p.inside for p in ps] for ps in self.pieces]))
        self.arrays = any(
            not (isinstance(p.outside, slice) and isinstance(p.inside, slice))
            for ps in self.pieces
            for p in ps
        )
        self.straight = straight(selection, self.chunks, out.strides)
        self.flat = out.reshape(-1)
        self.bytes = self.flat.view(np.uint8)
        self.address = out.ctypes.data
        masks = layout.masks
        self.masks: list[int] | None = None if masks is None else self._touched(masks).tolist()
        self._find(self._touched(layout.offsets), self._touched(layout.sizes))
        self.boxes: Boxes | None = None
        if not self.arrays and self.masks is None and self.pipeline.many and self.size <= SMALL:
            self.boxes = Boxes(self.pieces, self.chunks)

    def _touched(self, grid: np.ndarray) -> np.ndarray:
        """The entries of the touched chunks, in the order of the selection."""
        numbers: list[Any] = []
        for ps in self.pieces:
            first, last = ps[0].chunk, ps[-1].chunk
            if last - first == len(ps) - 1 and all(
                a.chunk < b.chunk for a, b in itertools.pairwise(ps)
            ):
                numbers.append(slice(first, last + 1))
            else:
                numbers.append([p.chunk for p in ps])
        if sum(not isinstance(one, slice) for one in numbers) > 1:
            numbers = list(np.ix_(*[[p.chunk for p in ps] for ps in self.pieces]))
        found: np.ndarray = grid[tuple(numbers)].reshape(-1)
        return found

    def _find(self, offsets: np.ndarray, sizes: np.ndarray) -> None:
        """Sort the chunks that are there by offset, fill in those that are not."""
        there = offsets != NOWHERE
        if there.all():
            ks = np.arange(offsets.size)
        else:
            ks = np.flatnonzero(there)
            self._fill(np.flatnonzero(~there))
            offsets, sizes = offsets[ks], sizes[ks]
        if offsets.size > 1 and not (offsets[1:] > offsets[:-1]).all():
            order = np.argsort(offsets, kind="stable")
            ks, offsets, sizes = ks[order], offsets[order], sizes[order]
        end = self.source.identity.size
        beyond = (offsets > end) | (sizes > end) | (offsets + sizes.astype(np.uint64) > end)
        self.ks: list[int] = ks.tolist()
        self.offsets: list[int] = offsets.tolist()
        self.sizes: list[int] = sizes.tolist()
        if beyond.any():
            j = int(beyond.argmax())
            raise self.corrupt(j, f"the file ends before, it has {end} bytes")
        if self.masks is None and (few := sizes < self.pipeline.least()).any():
            j = int(few.argmax())
            raise self.corrupt(j, f"{sizes[j]} stored bytes cannot hold a chunk of {self.size}")

    def _fill(self, missing: np.ndarray) -> None:
        value = fill_value(self.layout, self.decoding)
        if missing.size == len(self.outs):
            self.out[...] = value
            return
        for k in missing.tolist():
            self._put(k, value)

    def _put(self, k: int, value: Any) -> None:
        where = self.outs[k]
        self.out[outer(where, self.out.shape) if self.arrays else where] = value

    def corrupt(self, j: int, what: str) -> CorruptFile:
        """An error that names file, variable, chunk and byte."""
        at = np.unravel_index(self.ks[j], [len(ps) for ps in self.pieces])
        chunk = tuple(ps[int(i)].chunk for ps, i in zip(self.pieces, at, strict=True))
        return CorruptFile(
            f"{self.source.identity.path}: chunk {chunk} of {self.where}, at byte "
            f"{self.offsets[j]}: {what}"
        )

    @property
    def stored(self) -> int:
        """Bytes of the file that are needed."""
        return sum(self.sizes)

    def finish(self) -> None:
        """To be called when all work is done."""

    def work(self, bundle: list[Request]) -> None:
        """Read what some requests bring, and place it."""
        if not self.layout.filters:
            bundle = [request for request in bundle if not self._at_once(request)]
        view, bases = self._read(bundle)
        if self.boxes is not None:
            self._place_many(bundle, bases, view, self.boxes)
            return
        self._place(
            [(range(r.start, r.stop), base) for r, base in zip(bundle, bases, strict=True)], view
        )

    def _read(self, bundle: list[Request]) -> tuple[memoryview, list[int]]:
        """Read requests one behind another.

        Returns
        -------
        memoryview
        list of int
            For each request the byte of the file that would stand at the start of the memory.
        """
        view = borrowed("request", sum(one.size for one in bundle)).data
        bases = []

        def read() -> None:
            at = 0
            for one in bundle:
                self.source.read(one.offset, view[at : at + one.size])
                bases.append(one.offset - at)
                at += one.size

        pace.measure(read)
        return view, bases

    def _at_once(self, request: Request) -> bool:
        """Read unfiltered chunks that follow each other in file and result without a copy.

        False, and nothing is read, where that would be many small reads.
        """
        straight, offsets = self.straight, self.offsets
        if straight is None or self.decoding is not None:
            return False
        runs: list[list[int]] = []  # byte of the file, byte of the result, bytes
        for j in range(request.start, request.stop):
            to = straight[self.ks[j]]
            if to < 0 or self.sizes[j] != self.size:
                return False
            last = runs[-1] if runs else [-1, 0, 0]
            if [offsets[j], to] == [last[0] + last[2], last[1] + last[2]]:
                last[2] += self.size
            else:
                runs.append([offsets[j], to, self.size])
        if len(runs) > 1 and request.size < len(runs) * _ENOUGH:
            return False
        for offset, to, size in runs:
            self.source.read(offset, self.bytes[to : to + size].data)
        return True

    def _place_many(
        self, bundle: list[Request], bases: list[int], view: memoryview, boxes: Boxes
    ) -> None:
        """Like `_place`, for small chunks."""
        ks, size = self.ks, self.size
        start = addressof(c_char.from_buffer(view)) if len(view) else 0
        found = [
            (ks[j], j, self.offsets[j] - base + start)
            for request, base in zip(bundle, bases, strict=True)
            for j in range(request.start, request.stop)
        ]
        found.sort()
        step = max(1, _AT_ONCE // size)
        decoded = borrowed("chunk", min(step, len(found)) * size)
        for a in range(0, len(found), step):
            numbers, js, sources = map(list, zip(*found[a : a + step], strict=True))
            sizes = [self.sizes[j] for j in js]
            into = decoded[: len(js) * size]
            wrong = self.pipeline.decode_many(sources, sizes, into)
            if wrong >= 0:
                at = sources[wrong] - start
                self._explain(js[wrong], view[at : at + sizes[wrong]])
            values = self._decoded(into.view(self.layout.dtype)).reshape(-1, *self.chunks)
            for i, n in _runs(numbers):
                boxes.place(values[i : i + n], numbers[i], self.out)

    def _decoded(self, stored: np.ndarray) -> np.ndarray:
        """Values as they are wanted, in memory that is used again; one dimension."""
        if self.decoding is None:
            return stored
        dtype = self.out.dtype
        values = borrowed("values", stored.size * dtype.itemsize).view(dtype)
        self.decoding.into(stored, values)
        return values

    def _explain(self, j: int, stored: memoryview) -> NoReturn:
        """Say why a chunk cannot be decoded."""
        what = "it does not inflate"
        try:
            self.pipeline.decode(stored)
        except CorruptFile as wrong:
            what = wrong.what
        self.source.check()
        raise self.corrupt(j, what)

    def _place(self, parts: list[tuple[Iterable[int], int]], view: memoryview) -> None:
        """Decode chunks, whose stored bytes are in `view`, and put them into the result.

        `parts`: chunks, with the byte of the file that would stand at the start of `view`.
        """
        offsets, sizes, ks, masks, straight = (
            *(self.offsets, self.sizes, self.ks, self.masks, self.straight),
        )
        size, out, outs, ins, arrays = self.size, self.out, self.outs, self.ins, self.arrays
        decode = self.pipeline.decode_into
        scratch = borrowed("chunk", size)
        scratch_address = scratch.ctypes.data
        chunk = self._shaped(scratch)
        bare = not self.layout.filters
        picked = bool(arrays or self.decoding is not None)
        direct = self.decoding is None
        j = -1
        try:
            for js, base in parts:
                for j in js:
                    at = offsets[j] - base
                    stored = view[at : at + sizes[j]]
                    k = ks[j]
                    mask = masks[k] if masks is not None else 0
                    to = straight[k] if straight is not None else -1
                    if to >= 0 and direct:
                        decode(stored, mask, self.bytes[to : to + size], self.address + to)
                    elif bare:
                        self._pick(k, self._shaped(self.pipeline.decode(stored, mask)))
                    else:
                        decode(stored, mask, scratch, scratch_address)
                        if picked:
                            self._pick(k, chunk)
                        else:
                            out[outs[k]] = chunk[ins[k]]
        except CorruptFile as wrong:
            self.source.check()
            raise self.corrupt(j, wrong.what) from None

    def _shaped(self, data: np.ndarray) -> np.ndarray:
        shaped: np.ndarray = data.view(self.layout.dtype).reshape(self.chunks)
        return shaped

    def _pick(self, k: int, chunk: np.ndarray) -> None:
        """Put the selected part of a decoded chunk into the result."""
        inside, where = self.ins[k], self.outs[k]
        if self.arrays:
            part = chunk[outer(inside, self.chunks)]
            self._put(k, part if self.decoding is None else self.decoding.of(part))
        elif self.decoding is None:
            self.out[where] = chunk[inside]
        else:
            self.decoding.into(chunk[inside], self.out[where])


def _runs(ks: list[int]) -> list[tuple[int, int]]:
    """Where numbers that follow each other start, and how many they are."""
    if ks[-1] - ks[0] == len(ks) - 1 and ks == list(range(ks[0], ks[-1] + 1)):
        return [(0, len(ks))]
    cuts = [i for i in range(1, len(ks)) if ks[i] != ks[i - 1] + 1]
    return [(a, b - a) for a, b in itertools.pairwise([0, *cuts, len(ks)])]
