"""Read parts of bytes that no filter changed: only the runs that a selection needs.

A box of a chunk, or of a contiguous variable, is read as runs. From some dimension on, what lies
between the selected elements is so little that it is read too; every combination of the dimensions
before is a run of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.errors import CorruptFile
from hpclaunch.storage.buffers import borrowed
from hpclaunch.storage.job import Job, fill_value
from hpclaunch.storage.layout import NOWHERE
from hpclaunch.storage.requests import Request, bundled, coalesce
from hpclaunch.storage.selection import Index, Piece, outer

__all__ = ["ExtentRead"]

_LEAST_GAP = 4096  # bytes: reading a page costs less than asking once more


@dataclass(frozen=True, eq=False)
class _Run:
    """Bytes to read, and what becomes of them.

    Attributes
    ----------
    offset, size : int
        Bytes of the file.
    to : int
        The byte of the result where all of it goes; -1 where elements are picked.
    shape : tuple of int
        As an array.
    inside, outside : tuple
        Indices of that array and of the result.
    """

    offset: int
    size: int
    to: int
    shape: tuple[int, ...]
    inside: tuple[Any, ...]
    outside: tuple[Any, ...]


class ExtentRead:
    """One selection of a variable without filters.

    Parameters
    ----------
    job : Job
    request, gap : int
        Bytes, see :func:`~hpclaunch.storage.requests.coalesce`.
    """

    def __init__(self, job: Job, *, request: int, gap: int) -> None:
        layout, selection = job.layout, job.selection
        self.source = job.source
        self.layout = layout
        self.out = job.out
        self.where = job.where
        self.decoding = job.decoding
        self.request = request
        self.gap = max(gap, _LEAST_GAP)
        self.box = layout.shape if layout.chunks is None else layout.chunks
        self.flat = job.out.reshape(-1)
        self.bytes = self.flat.view(np.uint8)
        self.strides = _strides(self.box, layout.dtype.itemsize)
        runs = [
            run
            for combination in itertools.product(*selection.pieces)
            for run in self._of(combination)
        ]
        runs.sort(key=lambda run: run.offset)
        self.runs = runs

    def requests(self, align: int) -> list[list[Request]]:
        """Reads, in bundles worth a thread's while."""
        joined = coalesce(
            [run.offset for run in self.runs],
            [run.size for run in self.runs],
            request=self.request,
            gap=self.gap,
            align=align,
        )
        return bundled(joined, self.request, 1 if self.source.far else 256)

    def work(self, bundle: list[Request]) -> None:
        """Read a bundle and place it."""
        for request in bundle:
            runs = self.runs[request.start : request.stop]
            if self.decoding is None and _through(runs):
                to = runs[0].to
                view = self.bytes[to : to + request.size].data
                self.source.read(request.offset, view)
                continue
            buffer = borrowed("request", request.size)
            self.source.read(request.offset, buffer.data)
            for run in runs:
                at = run.offset - request.offset
                self._place(run, buffer[at : at + run.size])

    def _place(self, run: _Run, data: np.ndarray) -> None:
        if run.to >= 0:
            if self.decoding is None:
                self.bytes[run.to : run.to + run.size] = data
            else:
                to = run.to // self.out.itemsize
                stored = data.view(self.layout.dtype)
                self.decoding.into(stored, self.flat[to : to + stored.size])
            return
        part = data.view(self.layout.dtype).reshape(run.shape)
        for axis, one in enumerate(run.inside):
            if not isinstance(one, slice):
                part = part.take(one, axis)
            else:
                part = part[(slice(None),) * axis + (one,)]
        if self.decoding is not None:
            part = self.decoding.of(part)
        lead = len(run.outside) - part.ndim
        self.out[outer(run.outside, self.out.shape)] = part.reshape((1,) * lead + part.shape)

    def _of(self, pieces: tuple[Piece, ...]) -> Iterator[_Run]:
        """The runs of one box."""
        base = self._start(pieces)
        if base is None:
            where = outer(tuple(p.outside for p in pieces), self.out.shape)
            self.out[where] = fill_value(self.layout, self.decoding)
            return
        axis = self._axis(pieces)
        inner = pieces[axis:]
        lead = [list(_pairs(p)) for p in pieces[:axis]]
        for combination in itertools.product(*lead):
            offset = base + sum(
                at * stride for (at, _), stride in zip(combination, self.strides, strict=False)
            )
            outside = tuple(slice(to, to + 1) for _, to in combination)
            yield from self._rows(offset, outside, axis, inner)

    def _rows(
        self, offset: int, lead: tuple[slice, ...], axis: int, inner: tuple[Piece, ...]
    ) -> Iterator[_Run]:
        """The box of the dimensions from `axis` on, cut into reads of no more than a request."""
        itemsize = self.layout.dtype.itemsize
        if not inner:
            to = self._to(lead)
            yield _Run(offset, itemsize, to, (), (), lead)
            return
        row = self.strides[axis]
        most = max(1, self.request // row)
        first = inner[0]
        rest = inner[1:]
        shape = self.box[axis + 1 :]
        same = self._whole_rows(rest, axis) and _forward(first)
        for inside, outside, low, high in _cut(first, most):
            rows = high - low + 1
            where = (*lead, outside, *(p.outside for p in rest))
            yield _Run(
                offset + low * row,
                rows * row,
                self._to((*lead, outside)) if same else -1,
                (rows, *shape),
                (inside, *(p.inside for p in rest)),
                where,
            )

    def _to(self, outside: tuple[Any, ...]) -> int:
        return sum(one.start * n for one, n in zip(outside, self.out.strides, strict=False))

    def _start(self, pieces: tuple[Piece, ...]) -> int | None:
        """Where the chunk starts in the file; None where it was never written."""
        layout = self.layout
        chunk = () if layout.chunks is None else tuple(p.chunk for p in pieces)
        offset, size = layout.offsets[chunk], int(layout.sizes[chunk])
        if offset == NOWHERE:
            return None
        start = int(offset)
        needed = layout.chunk_bytes
        path = self.source.identity.path
        what = f"chunk {chunk} of {self.where}" if layout.chunks is not None else self.where
        if size < needed:
            raise CorruptFile(
                f"{path}: {what}, at byte {start}: it has {size} bytes instead of {needed}"
            )
        if start + needed > self.source.identity.size:
            raise CorruptFile(
                f"{path}: {what}, at byte {start}: the file ends before, it has "
                f"{self.source.identity.size} bytes"
            )
        return start

    def _axis(self, pieces: tuple[Piece, ...]) -> int:
        """The dimension from which on all is read in one run."""
        span = self.layout.dtype.itemsize
        axis = len(pieces)
        for i in range(len(pieces) - 1, -1, -1):
            piece = pieces[i]
            between = piece.stride * self.strides[i] - span if piece.count > 1 else 0
            if between > self.gap:
                break
            span += (piece.last - piece.first) * self.strides[i]
            axis = i
        while axis < len(pieces) and pieces[axis].count == 1:
            axis += 1
        if not self._whole_rows(pieces[axis + 1 :], axis):
            # What is not read straight into the result takes a buffer, of a request at most.
            while axis < len(pieces) - 1 and self.strides[axis] > self.request:
                axis += 1
        return axis

    def _whole_rows(self, rest: tuple[Piece, ...], axis: int) -> bool:
        """Whether rows of the result lie like those of the file; `rest` is behind `axis`."""
        return all(p.whole for p in rest) and self.out.shape[axis + 1 :] == self.box[axis + 1 :]


def _through(runs: list[_Run]) -> bool:
    """Whether what follows each other in the file does so in the result."""
    return runs[0].to >= 0 and all(
        b.to == a.to + a.size and b.offset == a.offset + a.size for a, b in itertools.pairwise(runs)
    )


def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides = [itemsize]
    for n in shape[:0:-1]:
        strides.append(strides[-1] * n)
    return tuple(reversed(strides)) if shape else ()


def _pairs(piece: Piece) -> Iterator[tuple[int, int]]:
    """Each position in the chunk with its position in the result."""
    return zip(_list(piece.inside), _list(piece.outside), strict=True)


def _list(index: Index) -> list[int]:
    if isinstance(index, np.ndarray):
        found: list[int] = index.tolist()
        return found
    return list(range(index.start, -1 if index.stop is None else index.stop, index.step or 1))


def _forward(piece: Piece) -> bool:
    """Whether neighbours in the file are neighbours in the result."""
    inside, outside = piece.inside, piece.outside
    return (
        isinstance(inside, slice)
        and isinstance(outside, slice)
        and inside.step == 1
        and (outside.step in (None, 1) or piece.count == 1)
    )


def _cut(piece: Piece, most: int) -> Iterator[tuple[Any, Any, int, int]]:
    """Cut a piece where it spans more than `most` positions of the chunk.

    Yields
    ------
    inside, outside : slice or numpy.ndarray
        The first counted from `low`.
    low, high : int
        The first and the last position in the chunk.
    """
    inside, outside = piece.inside, piece.outside
    if piece.last - piece.first < most:
        if isinstance(inside, slice):
            here: Any = slice(0, piece.last - piece.first + 1, inside.step)
        else:
            here = inside - piece.first
        yield here, outside, piece.first, piece.last
        return
    positions, targets = np.array(_list(inside)), np.array(_list(outside))
    if _forward(piece):
        for start in range(0, piece.count, most):
            n = min(most, piece.count - start)
            low, to = piece.first + start, int(targets[0]) + start
            yield slice(0, n, 1), slice(to, to + n), low, low + n - 1
        return
    groups = (positions - piece.first) // most
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), piece.count]
    for a, b in itertools.pairwise(edges):
        low, high = int(positions[a]), int(positions[b - 1])
        yield positions[a:b] - low, targets[a:b], low, high
