"""How a file is laid out, told for people and programs. Pure: an index in, values out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.storage.arrangement import (
    Access,
    Order,
    Written,
    map_cost,
    order_of,
    series_cost,
    written_of,
)
from hpclaunch.storage.layout import NOWHERE, FileIndex, Group, Layout, Variable
from hpclaunch.storage.traps import Trap, traps_of

__all__ = ["ChunkRow", "FileFacts", "VariableFacts", "chunk_rows", "describe", "find_variable"]


@dataclass(frozen=True)
class VariableFacts:
    """One variable.

    Attributes
    ----------
    name : str
        With its group where that is not the root: ``/group/name``.
    dims : tuple of str
    shape : tuple of int
    dtype : str
        As stored, such as ``float32`` or ``>i2``.
    kind : str
        ``contiguous``, ``chunked`` or ``other``.
    chunks : tuple of int or None
        Elements per dimension of a chunk.
    filters : tuple of str
        In the order of writing: ``shuffle``, ``deflate 4``.
    fill : float, int, str or None
        What was never written holds; None where it is not a number.
    count : int
        Chunks that the shape needs; 0 where it has none.
    written : int or None
        Chunks that are in the file; None where it is not known.
    nbytes, stored : int or None
        Bytes decoded, and in the file; None where it is not known.
    order : Order or None
    index : str
        How HDF5 finds the chunks.
    maps, series : Access or None
        What one map and one series cost.
    reason : str
        Why it is left to the HDF5 library; "" where it is decoded here.
    traps : tuple of Trap
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    kind: str
    chunks: tuple[int, ...] | None
    filters: tuple[str, ...]
    fill: float | int | str | None
    count: int
    written: int | None
    nbytes: int | None
    stored: int | None
    order: Order | None
    index: str
    maps: Access | None
    series: Access | None
    reason: str
    traps: tuple[Trap, ...]

    @property
    def ratio(self) -> float | None:
        """Decoded bytes for each stored byte."""
        return self.nbytes / self.stored if self.nbytes and self.stored else None

    @property
    def mean_chunk(self) -> float | None:
        """Stored bytes of a chunk, on average."""
        return self.stored / self.written if self.stored and self.written and self.count else None


@dataclass(frozen=True)
class FileFacts:
    """One file.

    Attributes
    ----------
    path : str
    size : int
        Bytes.
    superblock : int
        The version of HDF5's superblock.
    paged : bool
        Whether metadata lies together in pages.
    page : int
        Bytes of a page; 0 without.
    data : int
        Bytes of variables whose place is known.
    between : int
        Bytes of metadata, and of whatever else there is, that lie in front of, between and behind
        those.
    pieces : int
        In so many places: opening the file with the HDF5 library may touch as many.
    groups : int
    variables : tuple of VariableFacts
    """

    path: str
    size: int
    superblock: int
    paged: bool
    page: int
    data: int
    between: int
    pieces: int
    groups: int
    variables: tuple[VariableFacts, ...]


@dataclass(frozen=True)
class ChunkRow:
    """One chunk.

    Attributes
    ----------
    at : tuple of int
        Its first element.
    offset : int or None
        Bytes from the start of the file; None where it was never written.
    size : int
        Stored bytes.
    mask : int
        Bit i is set where stage i of the pipeline was left out.
    """

    at: tuple[int, ...]
    offset: int | None
    size: int
    mask: int


def describe(index: FileIndex) -> FileFacts:
    """Tell what an index says of its file."""
    variables, places = [], []
    for group in index.groups.values():
        for variable in group.variables.values():
            written = written_of(variable.layout)
            variables.append(_variable(variable, group, written))
            if written is not None:
                places.append(written)
    data, between, pieces = _between(places, index.identity.size)
    return FileFacts(
        path=index.identity.path,
        size=index.identity.size,
        superblock=index.superblock,
        paged=bool(index.facts.get("paged")),
        page=int(index.facts.get("page size") or 0),
        data=data,
        between=between,
        pieces=pieces,
        groups=len(index.groups),
        variables=tuple(variables),
    )


def find_variable(index: FileIndex, name: str) -> Variable | None:
    """The variable of a name as `describe` gives it; a leading slash does not matter."""
    where, _, last = name.strip("/").rpartition("/")
    group = index.groups.get("/" + where)
    return None if group is None else group.variables.get(last)


def chunk_rows(layout: Layout) -> tuple[ChunkRow, ...]:
    """Every chunk of a variable, in the order of their indices; empty where they are not known."""
    if layout.chunks is None or written_of(layout) is None:
        return ()
    rows = []
    for at in np.ndindex(layout.grid):
        there = layout.offsets[at] != NOWHERE
        rows.append(
            ChunkRow(
                tuple(i * n for i, n in zip(at, layout.chunks, strict=True)),
                int(layout.offsets[at]) if there else None,
                int(layout.sizes[at]) if there else 0,
                0 if layout.masks is None else int(layout.masks[at]),
            )
        )
    return tuple(rows)


def _variable(variable: Variable, group: Group, written: Written | None) -> VariableFacts:
    layout = variable.layout
    count = math.prod(layout.grid) if layout.chunks is not None else 0
    chunked = layout.chunks is not None
    order = order_of(written) if written is not None and chunked else None
    maps, series = map_cost(layout), series_cost(layout)
    stored = None if written is None else int(written.sizes.sum())
    return VariableFacts(
        name=variable.name if group.path == "/" else f"{group.path}/{variable.name}",
        dims=variable.dims,
        shape=layout.shape,
        dtype=_type(layout.dtype),
        kind=layout.kind,
        chunks=layout.chunks,
        filters=tuple(_filter(one.name, one.options) for one in layout.filters),
        fill=_fill(layout),
        count=count,
        written=None if written is None else int(written.offsets.size),
        nbytes=None if layout.dtype.kind == "O" else layout.nbytes,
        stored=stored,
        order=order,
        index=layout.index,
        maps=maps,
        series=series,
        reason=layout.reason,
        traps=traps_of(variable, group, order, maps, series, count),
    )


def _type(dtype: np.dtype[Any]) -> str:
    """``float32``; with its byte order where that is not this machine's."""
    if dtype.kind == "O":
        return "variable"
    return dtype.name if dtype.isnative or dtype.itemsize == 1 else dtype.str


def _filter(name: str, options: tuple[int, ...]) -> str:
    return f"{name} {options[0]}" if name == "deflate" and options else name


def _fill(layout: Layout) -> float | int | str | None:
    if len(layout.fill) != layout.dtype.itemsize or layout.dtype.kind not in "iuf":
        return None
    value = np.frombuffer(layout.fill, layout.dtype)[0].item()
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _between(places: list[Written], size: int) -> tuple[int, int, int]:
    """Bytes of data; bytes of the file that are none; and in how many places those lie."""
    if not places:
        return 0, size, 1
    starts = np.concatenate([one.offsets for one in places])
    sizes = np.concatenate([one.sizes for one in places])
    starts, sizes = starts[sizes > 0].astype(np.int64), sizes[sizes > 0].astype(np.int64)
    if not starts.size:
        return 0, size, 1
    by = np.argsort(starts, kind="stable")
    ends = np.maximum.accumulate(starts[by] + sizes[by])
    gaps = np.concatenate(([starts[by][0]], starts[by][1:] - ends[:-1], [size - ends[-1]]))
    gaps = gaps[gaps > 0]
    return int(sizes.sum()), int(gaps.sum()), int(gaps.size)
