"""A `FileIndex` as bytes: a JSON head, raw arrays behind it, a checksum over all of it.

::

    8   magic  b"HPCLNIDX"
    4   version of the format, little-endian, as all that follows
    4   CRC-32 of everything behind these 16 bytes
    8   bytes of the head
    8   bytes of everything, from the magic to the end
    ... the head: JSON, ASCII
    ... arrays, each at a multiple of 16 bytes from the start

Nothing in it is code, and nothing of it is believed before the checksum and every bound were
looked at."""

from __future__ import annotations

import base64
import functools
import json
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.indexvalues import (
    Unkeepable,
    dtype_from_json,
    dtype_to_json,
    from_json,
    to_json,
)
from hpclaunch.storage.layout import FileIndex, Filter, Group, Identity, Layout, Variable

__all__ = ["Damaged", "Unkeepable", "decode", "encode"]

MAGIC = b"HPCLNIDX"
VERSION = 3
_START = struct.Struct("<8sII")
_LENGTHS = struct.Struct("<QQ")
_HEAD = _START.size + _LENGTHS.size
_ALIGN = 16

_T = TypeVar("_T")


class Damaged(StorageError):
    """The bytes are no index, one of another version, or not whole."""

    usual_hint = "remove the index cache; indexes are made anew"


_WRONG = (
    ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError
)  # fmt: skip


def encode(index: FileIndex) -> bytes:
    """The bytes of an index.

    Raises
    ------
    Unkeepable
        If a value in it would not come back as it is.
    """
    arrays: list[np.ndarray] = []
    document = {
        "identity": _identity(index.identity),
        "superblock": index.superblock,
        "facts": to_json(index.facts),
        "groups": [_group(one, arrays) for one in index.groups.values()],
    }
    places, length = [], 0
    for one in arrays:
        places.append(length)
        length += -(-one.nbytes // _ALIGN) * _ALIGN
    document["places"] = places
    head = json.dumps(document, separators=(",", ":")).encode("ascii")
    head += b" " * (-(_HEAD + len(head)) % _ALIGN)
    parts = [head]
    for one in arrays:
        parts += [one.tobytes(), b"\0" * (-one.nbytes % _ALIGN)]
    body = _LENGTHS.pack(len(head), _HEAD + len(head) + length) + b"".join(parts)
    return _START.pack(MAGIC, VERSION, zlib.crc32(body)) + body


def decode(data: bytes) -> FileIndex:
    """The index that the bytes hold. Its arrays are views of them, read only.

    Raises
    ------
    Damaged
        If anything is not as `encode` writes it.
    """
    try:
        magic, version, checksum = _START.unpack_from(data)
        head, whole = _LENGTHS.unpack_from(data, _START.size)
    except struct.error as why:
        raise Damaged("an index is cut short") from why
    if magic != MAGIC or version != VERSION or whole != len(data) or head > whole - _HEAD:
        raise Damaged("it is no index of this version, or not whole")
    if zlib.crc32(memoryview(data)[_START.size :]) != checksum:
        raise Damaged("an index's checksum is wrong")
    try:
        document = json.loads(data[_HEAD : _HEAD + head].decode("ascii"))
        return _Reader(data, _HEAD + head, document["places"]).index(document)
    except _WRONG as why:
        raise Damaged(f"an index's content is wrong: {why!r}") from why


def _identity(one: Identity) -> list[Any]:
    return [one.path, one.size, one.mtime_ns, one.inode]


def _group(one: Group, arrays: list[np.ndarray]) -> list[Any]:
    variables = [_variable(variable, arrays) for variable in one.variables.values()]
    dims = [[name, int(n)] for name, n in one.dims.items()]
    return [one.path, dims, sorted(one.unlimited), to_json(one.attrs), variables]


def _variable(one: Variable, arrays: list[np.ndarray]) -> list[Any]:
    return [
        one.name,
        list(one.dims),
        dtype_to_json(one.dtype),
        to_json(one.attrs),
        to_json(one.encoding),
        _layout(one.layout, arrays),
        None if one.values is None else _array(one.values, arrays),
    ]


def _layout(one: Layout, arrays: list[np.ndarray]) -> list[Any]:
    return [
        one.kind,
        list(one.shape),
        dtype_to_json(one.dtype),
        None if one.chunks is None else list(one.chunks),
        [[stage.id, stage.name, list(stage.options)] for stage in one.filters],
        base64.b64encode(one.fill).decode(),
        _array(one.offsets, arrays),
        _array(one.sizes, arrays),
        None if one.masks is None else _array(one.masks, arrays),
        one.index,
        one.reason,
        None if one.extent is None else list(one.extent),
    ]


def _array(one: np.ndarray, arrays: list[np.ndarray]) -> list[Any]:
    if one.dtype.kind not in "iufS":
        raise Unkeepable(f"an array of {one.dtype}")
    arrays.append(one)
    return [len(arrays) - 1, one.dtype.str, list(one.shape)]


class _Reader:
    """Values out of a document and the arrays behind it."""

    def __init__(self, data: bytes, start: int, places: list[int]) -> None:
        self.data = data
        self.start = start
        self.places = places

    def index(self, document: dict[str, Any]) -> FileIndex:
        path, size, mtime_ns, inode = document["identity"]
        groups = {one[0]: self.group(one) for one in document["groups"]}
        facts = from_json(document["facts"])
        identity = Identity(path, size, mtime_ns, inode)
        return FileIndex(identity, groups, document["superblock"], facts)

    def group(self, fields: list[Any]) -> Group:
        path, dims, unlimited, attrs, variables = fields
        found = {one[0]: self.variable(one) for one in variables}
        return Group(path, dict(dims), frozenset(unlimited), from_json(attrs), found)

    def variable(self, fields: list[Any]) -> Variable:
        name, dims, dtype, attrs, encoding, layout, values = fields
        one = object.__new__(_Kept)
        one.__dict__.update(
            name=name,
            dims=tuple(dims),
            dtype=dtype_from_json(dtype),
            attrs=from_json(attrs),
            encoding=from_json(encoding),
            shape=tuple(layout[1]),
            _later=(self, layout, values),
        )
        return one

    def layout(self, fields: list[Any]) -> Layout:
        kind, shape, dtype, chunks, filters, fill, offsets, sizes, masks, index, reason, extent = (
            fields
        )
        one = Layout(
            kind,
            tuple(shape),
            dtype_from_json(dtype),
            None if chunks is None else tuple(chunks),
            tuple([Filter(number, name, tuple(options)) for number, name, options in filters]),
            base64.b64decode(fill),
            self.array(offsets),
            self.array(sizes),
            None if masks is None else self.array(masks),
            index,
            reason,
            None if extent is None else tuple(extent),
        )
        if one.located:
            _check(one)
        return one

    def array(self, fields: list[Any]) -> np.ndarray:
        which, dtype, shape = fields
        kind, count = np.dtype(dtype), math.prod(shape)
        if kind.kind not in "iufS" or which < 0 or min(shape, default=0) < 0:
            raise ValueError("no such array")
        place = self.places[which]
        if place < 0 or self.start + place + count * kind.itemsize > len(self.data):
            raise ValueError("an array ends behind the file")
        if not count:
            return np.empty(shape, kind)
        return np.frombuffer(self.data, kind, count, self.start + place).reshape(shape)


class _Kept(Variable):
    """A variable whose layout and values are made when they are asked for.

    A file is opened without them, and there are many.
    """

    shape: tuple[int, ...] = ()
    _later: tuple[_Reader, list[Any], list[Any] | None]

    @functools.cached_property
    def layout(self) -> Layout:
        reader, fields, _ = self._later
        return _made(reader.layout, fields)

    @functools.cached_property
    def values(self) -> np.ndarray | None:
        reader, _, fields = self._later
        return None if fields is None else _made(reader.array, fields)


def _made(make: Callable[[list[Any]], _T], fields: list[Any]) -> _T:
    try:
        return make(fields)
    except _WRONG as why:
        raise Damaged(f"an index's content is wrong: {why!r}") from why


def _check(one: Layout) -> None:
    """Whether offsets and sizes are of the shape that the reader relies on."""
    wrong = (
        one.kind not in ("contiguous", "chunked")
        or (one.kind == "chunked") is not (one.chunks is not None)
        or one.offsets.shape != one.grid
        or one.sizes.shape != one.grid
        or (one.masks is not None and one.masks.shape != one.grid)
        or one.offsets.dtype != np.uint64
        or len(one.fill) != one.dtype.itemsize
        or (one.extent is not None and len(one.extent) != len(one.shape))
    )
    if wrong:
        raise ValueError("the places of a variable's chunks do not fit its shape")
