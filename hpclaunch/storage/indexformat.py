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
looked at. Of the values that attributes and encodings hold, those that JSON has stand for
themselves; all others are written as an object with one key that says what they are.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from hpclaunch.storage.layout import FileIndex, Filter, Group, Identity, Layout, Variable

__all__ = ["Damaged", "Unkeepable", "decode", "encode"]

MAGIC = b"HPCLNIDX"
VERSION = 1
_START = struct.Struct("<8sII")
_LENGTHS = struct.Struct("<QQ")
_HEAD = _START.size + _LENGTHS.size
_ALIGN = 16


class Damaged(Exception):
    """The bytes are no index, one of another version, or not whole."""


class Unkeepable(Exception):
    """An index holds a value that the format has no words for."""


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
        "facts": _to_json(index.facts),
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
        raise Damaged("it is cut short") from why
    if magic != MAGIC or version != VERSION or whole != len(data) or head > whole - _HEAD:
        raise Damaged("it is no index of this version, or cut short")
    if zlib.crc32(memoryview(data)[_START.size :]) != checksum:
        raise Damaged("its checksum is wrong")
    try:
        document = json.loads(data[_HEAD : _HEAD + head])
        return _Reader(data, _HEAD + head, document["places"]).index(document)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as why:
        raise Damaged(f"its content is wrong: {why!r}") from why


def _identity(one: Identity) -> list[Any]:
    return [one.path, one.size, one.mtime_ns, one.inode]


def _group(one: Group, arrays: list[np.ndarray]) -> list[Any]:
    variables = [_variable(variable, arrays) for variable in one.variables.values()]
    dims = [[name, int(n)] for name, n in one.dims.items()]
    return [one.path, dims, sorted(one.unlimited), _to_json(one.attrs), variables]


def _variable(one: Variable, arrays: list[np.ndarray]) -> list[Any]:
    return [
        one.name,
        list(one.dims),
        _dtype_to_json(one.dtype),
        _to_json(one.attrs),
        _to_json(one.encoding),
        _layout(one.layout, arrays),
        None if one.values is None else _array(one.values, arrays),
    ]


def _layout(one: Layout, arrays: list[np.ndarray]) -> list[Any]:
    return [
        one.kind,
        list(one.shape),
        _dtype_to_json(one.dtype),
        None if one.chunks is None else list(one.chunks),
        [[stage.id, stage.name, list(stage.options)] for stage in one.filters],
        base64.b64encode(one.fill).decode(),
        _array(one.offsets, arrays),
        _array(one.sizes, arrays),
        None if one.masks is None else _array(one.masks, arrays),
        one.index,
        one.reason,
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
        facts = _from_json(document["facts"])
        identity = Identity(path, size, mtime_ns, inode)
        return FileIndex(identity, groups, document["superblock"], facts)

    def group(self, fields: list[Any]) -> Group:
        path, dims, unlimited, attrs, variables = fields
        found = {one[0]: self.variable(one) for one in variables}
        return Group(path, dict(dims), frozenset(unlimited), _from_json(attrs), found)

    def variable(self, fields: list[Any]) -> Variable:
        name, dims, dtype, attrs, encoding, layout, values = fields
        return Variable(
            name,
            tuple(dims),
            _dtype_from_json(dtype),
            _from_json(attrs),
            _from_json(encoding),
            self.layout(layout),
            None if values is None else self.array(values),
        )

    def layout(self, fields: list[Any]) -> Layout:
        kind, shape, dtype, chunks, filters, fill, offsets, sizes, masks, index, reason = fields
        one = Layout(
            kind,
            tuple(shape),
            _dtype_from_json(dtype),
            None if chunks is None else tuple(chunks),
            tuple([Filter(number, name, tuple(options)) for number, name, options in filters]),
            base64.b64decode(fill),
            self.array(offsets),
            self.array(sizes),
            None if masks is None else self.array(masks),
            index,
            reason,
        )
        if not reason:
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
    )
    if wrong:
        raise ValueError("the places of a variable's chunks do not fit its shape")


def _dtype_to_json(dtype: np.dtype[Any]) -> Any:
    """A dtype as its letters; with its description where letters do not tell all of it."""
    if dtype.fields is None and dtype.metadata is None and dtype.subdtype is None:
        return dtype.str
    meta = {key: _value_to_json(value) for key, value in (dtype.metadata or {}).items()}
    return [_value_to_json(np.lib.format.dtype_to_descr(_bare(dtype))), meta]


def _bare(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(dtype.str) if dtype.fields is None and dtype.subdtype is None else dtype


def _dtype_from_json(text: Any) -> np.dtype[Any]:
    if isinstance(text, str):
        return np.dtype(text)
    bare, meta = text
    dtype = np.lib.format.descr_to_dtype(_value_from_json(bare))
    if not meta:
        return dtype
    return np.dtype(dtype, metadata={k: _value_from_json(v) for k, v in meta.items()})


def _to_json(values: dict[str, Any]) -> dict[str, Any]:
    """Attributes or an encoding, in their order."""
    return {key: _value_to_json(value) for key, value in values.items()}


def _from_json(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _value_from_json(value) if type(value) is dict else value
        for key, value in values.items()
    }


def _value_to_json(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return {"float": value.hex()}
    if kind is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    if kind in (list, tuple):
        return {kind.__name__: [_value_to_json(one) for one in value]}
    if kind is dict:
        return {"dict": [[_value_to_json(k), _value_to_json(v)] for k, v in value.items()]}
    if isinstance(value, np.dtype):
        return {"dtype": _dtype_to_json(value)}
    if kind is type and value.__name__ in _TYPES:
        return {"type": value.__name__}
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return _numbers_to_json(value)
    raise Unkeepable(f"a {kind.__name__}")


def _numbers_to_json(value: Any) -> dict[str, Any]:
    bytes_ = base64.b64encode(value.tobytes()).decode()
    if isinstance(value, np.ndarray):
        return {"array": [_dtype_to_json(value.dtype), list(value.shape), bytes_]}
    return {"scalar": [_dtype_to_json(value.dtype), bytes_]}


def _value_from_json(value: Any) -> Any:
    if type(value) is not dict:
        return value
    ((kind, content),) = value.items()
    return _MAKERS[kind](content)


def _scalar(content: Any) -> Any:
    dtype, data = content
    return np.frombuffer(base64.b64decode(data), _dtype_from_json(dtype), 1)[0]


def _small_array(content: Any) -> np.ndarray:
    dtype, shape, data = content
    kind = _dtype_from_json(dtype)
    raw = base64.b64decode(data)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise ValueError("an array of another size")
    return np.frombuffer(raw, kind).reshape(shape).copy() if raw else np.empty(shape, kind)


_TYPES = {"str": str, "bytes": bytes}

_MAKERS: dict[str, Callable[[Any], Any]] = {
    "float": float.fromhex,
    "bytes": base64.b64decode,
    "list": lambda content: [_value_from_json(one) for one in content],
    "tuple": lambda content: tuple([_value_from_json(one) for one in content]),
    "dict": lambda content: {_value_from_json(k): _value_from_json(v) for k, v in content},
    "dtype": lambda content: _dtype_from_json(content),
    "type": _TYPES.__getitem__,
    "scalar": _scalar,
    "array": _small_array,
}
