"""How a NetCDF-4/HDF5 file is laid out: values only, no I/O.

A :class:`FileIndex` is all that is needed to open a file without the HDF5 library: the groups,
dimensions, attributes and encodings as xarray's engine ``netcdf4`` tells them, and for every
variable where its bytes lie. ``scan`` makes it of a file, ``sidecar`` keeps it, ``reader`` reads by
it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

__all__ = [
    "DEFLATE",
    "FLETCHER32",
    "NOWHERE",
    "SHUFFLE",
    "UNDECODED",
    "FileIndex",
    "Filter",
    "Group",
    "Identity",
    "Layout",
    "Variable",
]

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
"""HDF5's numbers of the filters that are decoded here (H5Zpublic.h)."""

NOWHERE = np.uint64(2**64 - 1)
"""The offset of a chunk that was never written (HADDR_UNDEF of HDF5): it holds the fill value."""

UNDECODED = "its chunks went through"
"""How a reason begins where the places of chunks are known, and only their filters are not ours."""


@dataclass(frozen=True)
class Identity:
    """Which file it was, and in which state.

    Attributes
    ----------
    path : str
        The real path, or a URL.
    size : int
        Bytes.
    mtime_ns : int
        Nanoseconds since 1970.
    inode : int
        0 where there is none.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Filter:
    """One stage of the pipeline that a chunk went through when it was written.

    Attributes
    ----------
    id : int
        HDF5's number.
    name : str
        HDF5's or the registry's word for it.
    options : tuple of int
        The client data: the level of deflate, the size of an element for shuffle.
    """

    id: int
    name: str
    options: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a variable's bytes lie in its file.

    Attributes
    ----------
    kind : str
        ``contiguous``, ``chunked`` or ``other`` (then `reason` says what it is).
    shape : tuple of int
        Elements per dimension.
    dtype : numpy.dtype
        As stored, with the byte order of the file.
    chunks : tuple of int or None
        Elements per dimension of a chunk; None where the variable is not chunked.
    filters : tuple of Filter
        In the order in which they were applied when the chunk was written.
    fill : bytes
        One element of `dtype`: what a chunk that was never written holds.
    offsets : numpy.ndarray
        uint64, one for each chunk, of the shape of :attr:`grid`: bytes from the start of the file,
        or `NOWHERE`. Of shape () for a contiguous variable.
    sizes : numpy.ndarray
        uint32 (uint64 where contiguous), like `offsets`: stored bytes.
    masks : numpy.ndarray or None
        uint32, like `offsets`: bit i is set where stage i of the pipeline was left out. None where
        none was anywhere.
    index : str
        How HDF5 finds its chunks: ``btree1``, ``btree2``, ``fixed array``, ``extensible array``,
        ``implicit``, ``single`` or "" where it is not known.
    reason : str
        Why these bytes are left to the HDF5 library, in words for ``inspect``; "" where they are
        decoded here.
    extent : tuple of int or None
        Elements per dimension that were written, where another variable made an unlimited dimension
        longer: what lies beyond holds the fill value, whatever the chunks hold there.
    """

    kind: Literal["contiguous", "chunked", "other"]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None = None
    filters: tuple[Filter, ...] = ()
    fill: bytes = b""
    offsets: np.ndarray = field(default_factory=lambda: np.empty((), np.uint64))
    sizes: np.ndarray = field(default_factory=lambda: np.empty((), np.uint64))
    masks: np.ndarray | None = None
    index: str = ""
    reason: str = ""
    extent: tuple[int, ...] | None = None

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of chunks per dimension; () where the variable is not chunked."""
        if self.chunks is None:
            return ()
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))

    @property
    def located(self) -> bool:
        """Whether `offsets` and `sizes` are known, be the filters decoded here or not."""
        return not self.reason or self.reason.startswith(UNDECODED)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk, or of the whole variable where it is not chunked."""
        return math.prod(self.chunks if self.chunks is not None else self.shape) * (
            self.dtype.itemsize
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all values, decoded."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def stored(self) -> int:
        """Bytes in the file."""
        return int(self.sizes[self.offsets != NOWHERE].sum(dtype=np.uint64))


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable as xarray's engine ``netcdf4`` would tell it before CF decoding.

    Attributes
    ----------
    name : str
    dims : tuple of str
    dtype : numpy.dtype
        What engine ``netcdf4`` says.
    attrs : dict
        Numbers and arrays with the very dtypes that engine ``netcdf4`` gives.
    encoding : dict
        As engine ``netcdf4`` gives it, without ``source``.
    layout : Layout
    values : numpy.ndarray or None
        All values, not decoded by CF, of a variable that is small enough to be kept in the index.
    """

    name: str
    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    attrs: dict[str, Any]
    encoding: dict[str, Any]
    layout: Layout
    values: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements per dimension."""
        return self.layout.shape


@dataclass(frozen=True, eq=False)
class Group:
    """One group of a file.

    Attributes
    ----------
    path : str
        ``/`` for the root, else ``/a/b``.
    dims : dict
        Dimension to size, those of enclosing groups that its variables use included.
    unlimited : frozenset of str
    attrs : dict
    variables : dict
        Name to :class:`Variable`, in the file's order.
    """

    path: str
    dims: dict[str, int]
    unlimited: frozenset[str]
    attrs: dict[str, Any]
    variables: dict[str, Variable]


@dataclass(frozen=True, eq=False)
class FileIndex:
    """Everything about one file.

    Attributes
    ----------
    identity : Identity
        Of the file when it was scanned.
    groups : dict
        Path to :class:`Group`, parents first.
    superblock : int
        The version of HDF5's superblock.
    facts : dict
        What ``inspect`` tells besides: whether metadata is paged, the page size, the driver.
    """

    identity: Identity
    groups: dict[str, Group]
    superblock: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
