"""Read the chunks that a selection touches, decode them, put them where they belong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from hpclaunch.errors import CorruptFile
from hpclaunch.storage.buffers import borrowed
from hpclaunch.storage.decode import Pipeline
from hpclaunch.storage.job import Job, fill_value
from hpclaunch.storage.layout import NOWHERE
from hpclaunch.storage.pace import pace
from hpclaunch.storage.requests import Request
from hpclaunch.storage.selection import Index, outer, straight
from hpclaunch.storage.small import SMALL, SmallChunks
from hpclaunch.storage.together import FEW, Together

__all__ = ["ChunkedRead"]

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
        self.grid = tuple(len(ps) for ps in self.pieces)
        self.arrays = selection.arrays
        # Made when they are first wanted, without a lock: a child of a fork must not wait for one.
        self._outs: list[tuple[Index, ...]] | None = None
        self._ins: list[tuple[Index, ...]] | None = None
        self.flat = out.reshape(-1)
        self.bytes = self.flat.view(np.uint8)
        self.address = out.ctypes.data
        touched, masks = self._touched(), layout.masks
        self.masks: list[int] | None = None
        if masks is not None:
            self.masks = masks[touched].reshape(-1).tolist()
        self._find(layout.offsets[touched].reshape(-1), layout.sizes[touched].reshape(-1))
        usual = self.masks is None and self.pipeline.many
        how = self.pipeline, math.prod(self.chunks), out, job.decoding
        self.together = Together.of(*how) if usual else None
        self.small: SmallChunks | None = None
        self.straight: np.ndarray | None = None
        if usual and self.together is None and not self.arrays and self.size <= SMALL:
            self.small = SmallChunks(self)
        else:
            self.straight = straight(selection, self.chunks, out.strides)

    @property
    def outs(self) -> list[tuple[Index, ...]]:
        """Where each chunk goes in the result."""
        if self._outs is None:
            self._outs = list(itertools.product(*[[p.outside for p in ps] for ps in self.pieces]))
        return self._outs

    @property
    def ins(self) -> list[tuple[Index, ...]]:
        """What is taken of each chunk."""
        if self._ins is None:
            self._ins = list(itertools.product(*[[p.inside for p in ps] for ps in self.pieces]))
        return self._ins

    def _touched(self) -> tuple[Any, ...]:
        """The index of the touched chunks in the grid of all, in the order of the selection."""
        every = [[p.chunk for p in ps] for ps in self.pieces]
        numbers: list[Any] = [
            slice(one[0], one[-1] + 1) if one == list(range(one[0], one[-1] + 1)) else one
            for one in every
        ]
        if sum(not isinstance(one, slice) for one in numbers) > 1:
            return tuple(np.ix_(*every))
        return tuple(numbers)

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
        self.numbers, self.places = ks, offsets.astype(np.int64)
        self.lengths = sizes.astype(np.int64)
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
        if missing.size == math.prod(self.grid):
            self.out[...] = value
            return
        for k in missing.tolist():
            self._put(k, value)

    def _put(self, k: int, value: Any) -> None:
        where = self.outs[k]
        self.out[outer(where, self.out.shape) if self.arrays else where] = value

    def corrupt(self, j: int, what: str) -> CorruptFile:
        """An error that names file, variable, chunk and byte."""
        at = np.unravel_index(self.ks[j], self.grid)
        chunk = tuple(ps[int(i)].chunk for ps, i in zip(self.pieces, at, strict=True))
        return CorruptFile(
            f"{self.source.identity.path}: chunk {chunk} of {self.where}, at byte "
            f"{self.offsets[j]}: {what}"
        )

    def explain(self, j: int, stored: memoryview) -> NoReturn:
        """Say why a chunk cannot be decoded, which was decoded with others."""
        what = "it does not inflate"
        try:
            self.pipeline.decode(stored)
        except CorruptFile as wrong:
            what = wrong.what
        self.source.check()
        raise self.corrupt(j, what)

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
        elif self.together is not None and pace.copies:
            bundle = [
                request for request in bundle if not self.together.read_request(self, request)
            ]
        if not bundle:
            return
        view, bases = self._read(bundle)
        if self.small is not None:
            self.small.place(self, bundle, bases, view)
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
        sizes = [one.size for one in bundle]
        view = borrowed("request", sum(sizes)).data
        offsets = [one.offset for one in bundle]
        if len(bundle) == 1:
            pace.measure(lambda: self.source.read(offsets[0], view))
        else:
            pace.measure(lambda: self.source.read_each(offsets, sizes, view))
        ends = itertools.accumulate(sizes, initial=0)
        return view, [offset - end for offset, end in zip(offsets, ends, strict=False)]

    def _at_once(self, request: Request) -> bool:
        """Read unfiltered chunks that follow each other in file and result without a copy.

        False, and nothing is read, where that would be many small reads.
        """
        if self.straight is None or self.decoding is not None:
            return False
        runs: list[list[int]] = []  # byte of the file, byte of the result, bytes
        js = range(request.start, request.stop)
        for j, to in zip(js, self._starts(js), strict=True):
            if to < 0 or self.sizes[j] != self.size:
                return False
            last = runs[-1] if runs else [-1, 0, 0]
            if [self.offsets[j], to] == [last[0] + last[2], last[1] + last[2]]:
                last[2] += self.size
            else:
                runs.append([self.offsets[j], to, self.size])
        if len(runs) > 1 and (self.source.far or request.size < len(runs) * _ENOUGH):
            return False
        for offset, to, size in runs:
            self.source.read(offset, self.bytes[to : to + size].data)
        return True

    def _starts(self, js: Sequence[int]) -> list[int]:
        """The byte of the result where each of some chunks lies in one piece, or -1."""
        if self.straight is None:
            return [-1] * len(js)
        found: list[int] = self.straight[self.numbers[np.array(js, np.int64)]].tolist()
        return found

    def _place(self, parts: list[tuple[Sequence[int], int]], view: memoryview) -> None:
        """Decode chunks, whose stored bytes are in `view`, and put them into the result.

        `parts`: chunks, with the byte of the file that would stand at the start of `view`.
        """
        if self.together is not None and sum(len(js) for js, _ in parts) > FEW:
            self.together.place(self, parts, view)
        else:
            self._place_each(parts, view)

    def _place_each(self, parts: list[tuple[Sequence[int], int]], view: memoryview) -> None:
        offsets, sizes, ks, masks = self.offsets, self.sizes, self.ks, self.masks
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
                for j, to in zip(js, self._starts(js), strict=True):
                    at = offsets[j] - base
                    stored = view[at : at + sizes[j]]
                    k = ks[j]
                    mask = masks[k] if masks is not None else 0
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
