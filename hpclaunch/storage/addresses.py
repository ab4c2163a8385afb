"""Where the bytes of an HDF5 dataset lie, asked of the HDF5 library through h5py.

What is decoded here is what the library would do with the same bytes: integers, IEEE numbers and
single characters, contiguous or in chunks that went through deflate, shuffle and fletcher32. All
else gets a :attr:`~hpclaunch.storage.layout.Layout.reason` and is left to the library.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.storage.layout import (
    DEFLATE,
    FLETCHER32,
    NOWHERE,
    SHUFFLE,
    UNDECODED,
    Filter,
    Layout,
)
from hpclaunch.storage.mirror import Mirror

__all__ = ["FILTERS", "File", "layout_of"]

FILTERS = {
    DEFLATE: "deflate", SHUFFLE: "shuffle", FLETCHER32: "fletcher32",
    4: "szip", 5: "nbit", 6: "scaleoffset", 305: "lzo", 307: "bzip2", 32000: "lzf",
    32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp", 32015: "zstd",
    32017: "sz", 32019: "jpeg", 32022: "granular bitround", 32026: "blosc2",
}  # fmt: skip
"""Words for filters, from HDF5's H5Zpublic.h and The HDF Group's registry of filters."""

DECODED = {DEFLATE, SHUFFLE, FLETCHER32}

DENSE_CELLS = 1 << 20
"""A grid of chunks up to this size is always kept dense."""

SPARSE = 64
"""A greater grid is left to the library where fewer than one chunk in this many was written."""


class _NotOurs(Exception):
    """Why a dataset is left to the library, as its message."""


@dataclass(frozen=True)
class File:
    """What must be known of an open HDF5 file to read its datasets' addresses.

    Attributes
    ----------
    handle : h5py.File
    superblock : int
        The version.
    start : int
        Where the superblock lies: 0, or behind a user block.
    mirror : Mirror, optional
        Of a remote file: what `handle` reads from.
    """

    handle: Any
    superblock: int
    start: int
    mirror: Mirror | None = None


def layout_of(file: File, dataset: Any, shape: tuple[int, ...], dtype: Any) -> Layout:
    """Find where a variable's bytes lie.

    Parameters
    ----------
    file : File
    dataset : h5py.Dataset or None
        None where the file has none of the variable's name.
    shape : tuple of int
        The variable's, by its dimensions.
    dtype : numpy.dtype or other
        The variable's type as netCDF4 tells it.

    Returns
    -------
    Layout
        With a reason where the bytes are left to the library. Never raises for what a dataset is.
    """
    if not isinstance(dtype, np.dtype):
        dtype = np.dtype(object)
    found: dict[str, Any] = {"kind": "other", "shape": shape, "dtype": dtype}
    if dataset is None:
        return Layout(**found, reason="HDF5 has no dataset of this name")
    try:
        _fill_in(found, file, dataset)
    except _NotOurs as why:
        found["reason"] = str(why)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError) as why:
        found["reason"] = f"the HDF5 library does not say where its bytes lie: {why}"
    return Layout(**found)


def _fill_in(found: dict[str, Any], file: File, dataset: Any) -> None:
    """Add what is known to `found`, until something is not ours."""
    from h5py import h5d

    plist = dataset.id.get_create_plist()
    kind = plist.get_layout()
    found["filters"] = tuple(_filters(plist))
    if kind == h5d.CHUNKED:
        found.update(kind="chunked", chunks=tuple(plist.get_chunk()))
    elif kind == h5d.CONTIGUOUS:
        found["kind"] = "contiguous"
    _check_place(file, dataset)
    _check_type(dataset, found["dtype"])
    if dataset.shape != found["shape"]:
        found["extent"] = _extent(found, dataset)
    if kind == h5d.CONTIGUOUS:
        _contiguous(found, file, dataset, plist)
    elif kind == h5d.CHUNKED:
        _chunked(found, file, dataset)
    else:
        words = {h5d.COMPACT: "compact: its values lie in its header", h5d.VIRTUAL: "virtual"}
        raise _NotOurs(f"its layout is {words.get(kind, kind)}")
    defined = _fill(found, plist)
    if not defined and (found.get("extent") or (found["offsets"] == NOWHERE).any()):
        raise _NotOurs("parts of it were never written, and no fill value is defined for them")
    if unknown := [one for one in found["filters"] if one.id not in DECODED]:
        names = ", ".join(f"{one.name} ({one.id})" for one in unknown)
        raise _NotOurs(f"{UNDECODED} {names}, which is not decoded here")


def _extent(found: dict[str, Any], dataset: Any) -> tuple[int, ...]:
    """What was written of a variable whose dimensions were made longer by others."""
    written, shape = dataset.shape, found["shape"]
    if (
        found["kind"] == "chunked"
        and len(written) == len(shape)
        and all(n <= m for n, m in zip(written, shape, strict=True))
    ):
        return tuple(written)
    raise _NotOurs(
        f"its extent in HDF5 is {written}, its dimensions are {shape}: "
        "the rest is made up by the NetCDF library"
    )


def _filters(plist: Any) -> list[Filter]:
    found = []
    for at in range(plist.get_nfilters()):
        number, _, options, name = plist.get_filter(at)
        word = FILTERS.get(number) or bytes(name).decode("utf-8", "replace") or "unknown"
        found.append(Filter(int(number), word, tuple(int(one) for one in options)))
    return found


def _check_place(file: File, dataset: Any) -> None:
    """Whether the dataset lies in this very file."""
    from h5py import h5o

    if h5o.get_info(dataset.id).fileno != h5o.get_info(file.handle["/"].id).fileno:
        raise _NotOurs("it lies in another file, by an external link")
    count = dataset.id.get_create_plist().get_external_count()
    if count:
        raise _NotOurs(f"its values lie in {count} external file(s)")


def _check_type(dataset: Any, dtype: np.dtype[Any]) -> None:
    """Whether the stored type is one that numpy reads as it lies there."""
    from h5py import h5t

    stored = dataset.id.get_type()
    words = {
        h5t.STRING: "strings", h5t.COMPOUND: "compound", h5t.ENUM: "enum",
        h5t.OPAQUE: "opaque", h5t.REFERENCE: "reference", h5t.VLEN: "variable-length",
        h5t.ARRAY: "array", h5t.BITFIELD: "bit field",
    }  # fmt: skip
    kind = stored.get_class()
    if kind == h5t.STRING and dtype == np.dtype("S1") and stored.equal(h5t.C_S1):
        return
    if kind not in (h5t.INTEGER, h5t.FLOAT):
        raise _NotOurs(f"its type is {words.get(kind, 'unknown')}")
    if dtype.kind not in "iuf" or not stored.equal(h5t.py_create(dtype)):
        raise _NotOurs("its numbers are not of a type that numpy has")


def _contiguous(found: dict[str, Any], file: File, dataset: Any, plist: Any) -> None:
    size = math.prod(found["shape"]) * found["dtype"].itemsize
    offset = dataset.id.get_offset()
    if found["filters"]:
        raise _NotOurs("it has filters and no chunks")
    if offset is None:
        found["offsets"], found["sizes"] = np.array(NOWHERE), np.array(0, np.uint64)
        return
    if dataset.id.get_storage_size() != size:
        raise _NotOurs("its bytes are more or fewer than its values")
    if file.start:
        raise _NotOurs("the file has a user block, and it is not chunked")
    found["offsets"], found["sizes"] = np.array(offset, np.uint64), np.array(size, np.uint64)


def _chunked(found: dict[str, Any], file: File, dataset: Any) -> None:
    grid = tuple(-(-n // c) for n, c in zip(found["shape"], found["chunks"], strict=True))
    cells = math.prod(grid)
    count = dataset.id.get_num_chunks() if cells else 0
    if cells > DENSE_CELLS and cells > SPARSE * count:
        raise _NotOurs(f"only {count} of its {cells} chunks were written")
    places, masks, offsets, sizes = _chunks(dataset, count, len(grid))
    places //= np.array(found["chunks"], np.uint64)
    inside = (places < np.array(grid, np.uint64)).all(axis=1)
    flat = np.ravel_multi_index(tuple(places[inside].T.astype(np.intp)), grid) if cells else []
    masks, offsets, sizes = masks[inside], offsets[inside], sizes[inside]
    _check_base(file, dataset, offsets, sizes)
    found["offsets"] = _dense(grid, flat, offsets, NOWHERE, np.uint64)
    big = sizes.size and sizes.max() >= 2**32
    found["sizes"] = _dense(grid, flat, sizes, 0, np.uint64 if big else np.uint32)
    if masks.any():
        found["masks"] = _dense(grid, flat, masks, 0, np.uint32)
    found["index"] = _index_kind(file, dataset, found["filters"], count)
    _check_sizes(found, file, flat)


def _dense(grid: tuple[int, ...], flat: Any, some: np.ndarray, none: Any, dtype: Any) -> np.ndarray:
    whole = np.full(math.prod(grid), none, dtype)
    whole[flat] = some
    return whole.reshape(grid)


def _chunks(dataset: Any, count: int, ndim: int) -> tuple[np.ndarray, ...]:
    """Element of the first corner (n, ndim), filter mask, offset and size of every chunk."""
    corners, rest = array("Q"), array("Q")

    def note(chunk: Any) -> None:
        corners.extend(chunk.chunk_offset)
        rest.extend((chunk.filter_mask, chunk.byte_offset, chunk.size))

    if hasattr(dataset.id, "chunk_iter"):
        if count:
            dataset.id.chunk_iter(note)
    else:
        for at in range(count):
            note(dataset.id.get_chunk_info(at))
    columns = np.array(rest, np.uint64).reshape(-1, 3)
    places = np.array(corners, np.uint64).reshape(-1, ndim)
    return places, columns[:, 0], columns[:, 1], columns[:, 2]


def _check_base(file: File, dataset: Any, offsets: np.ndarray, sizes: np.ndarray) -> None:
    """Behind a user block releases of HDF5 count addresses differently: look at one chunk."""
    if not file.start or not offsets.size:
        return
    first = next(iter(_first_chunk(dataset)))
    stored = bytes(dataset.id.read_direct_chunk(first.chunk_offset)[1])
    if file.mirror is not None:
        file.mirror.bring((first.byte_offset + base, len(stored)) for base in (0, file.start))
    path = file.handle.filename if file.mirror is None else file.mirror.path
    with open(path, "rb") as raw:  # noqa: PTH123
        found = []
        for base in (0, file.start):
            raw.seek(first.byte_offset + base)
            found.append(raw.read(len(stored)) == stored)
    if found == [False, True]:
        offsets += np.uint64(file.start)
    elif found != [True, False]:
        raise _NotOurs("the file has a user block, and its addresses are not clear")


def _first_chunk(dataset: Any) -> list[Any]:
    return [dataset.id.get_chunk_info(0)]


def _check_sizes(found: dict[str, Any], file: File, flat: Any) -> None:
    """Whether stored sizes tell of something that is not in the pipeline's description.

    HDF5 1.10 and later can leave chunks at the edge unfiltered without setting their masks
    (H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS), and h5py does not tell.
    """
    whole = math.prod(found["chunks"]) * found["dtype"].itemsize
    sizes = found["sizes"].reshape(-1)[flat]
    if not found["filters"]:
        if (sizes != whole).any():
            raise _NotOurs("the sizes of its chunks do not fit their shape")
        return
    written = found.get("extent") or found["shape"]
    edges = any(n % c for n, c in zip(written, found["chunks"], strict=True))
    if file.superblock >= 3 and edges:
        edge = np.zeros(found["offsets"].shape, bool)
        for axis, (n, c) in enumerate(zip(written, found["chunks"], strict=True)):
            if n % c:
                edge[(slice(None),) * axis + (n // c,)] = True
        if (sizes[edge.reshape(-1)[flat]] == whole).any():
            raise _NotOurs("chunks at its edge seem to be stored without its filters")


def _index_kind(file: File, dataset: Any, filters: tuple[Filter, ...], count: int) -> str:
    """What kind of index HDF5 would have made: by its rules, h5py does not tell.

    HDF5 File Format Specification 3.0, IV.A.2.i: layout messages of version 4, which files with
    superblocks of version 3 have, choose by the maximum extent.
    """
    if file.superblock < 3:
        return "btree1"
    unlimited = sum(1 for n in dataset.maxshape if n is None)
    if unlimited:
        return "extensible array" if unlimited == 1 else "btree2"
    if all(n <= c for n, c in zip(dataset.maxshape, dataset.chunks, strict=True)):
        return "single"
    from h5py import h5d

    early = dataset.id.get_create_plist().get_alloc_time() == h5d.ALLOC_TIME_EARLY
    return "implicit" if early and not filters else "fixed array"


def _fill(found: dict[str, Any], plist: Any) -> bool:
    """Note the fill value; whether one is defined for what was never written."""
    from h5py import h5d

    dtype = found["dtype"]
    value = np.zeros((1,), dtype)
    state = plist.fill_value_defined()
    if state == h5d.FILL_VALUE_USER_DEFINED:
        plist.get_fill_value(value)
    found["fill"] = value.tobytes()
    never = plist.get_fill_time() == h5d.FILL_TIME_NEVER
    return bool(state != h5d.FILL_VALUE_UNDEFINED and not never)
