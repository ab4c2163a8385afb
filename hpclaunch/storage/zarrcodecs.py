"""HDF5's filters as numcodecs' codecs, as far as those undo exactly the same. No I/O.

Numbers of filters: The HDF Group's registry of filters. What the codecs read was looked up in
numcodecs: its Blosc, Zstd and BZ2 read frames of these libraries, as the filters write them; lz4,
lzf and bitshuffle have frames of their own in HDF5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpclaunch.storage.fletcher32 import LENGTH
from hpclaunch.storage.layout import DEFLATE, FLETCHER32, SHUFFLE, Layout

__all__ = ["codecs_of", "encoded"]

Codecs = tuple[dict[str, Any], ...]

_COMPRESSORS: dict[int, dict[str, Any]] = {
    DEFLATE: {"id": "zlib", "level": 4},
    307: {"id": "bz2", "level": 9},
    32001: {"id": "blosc"},
    32015: {"id": "zstd", "level": 3},
}


def codecs_of(layout: Layout) -> Codecs | str:
    """The codecs that undo a variable's filters, or why there are none.

    Parameters
    ----------
    layout : Layout

    Returns
    -------
    tuple of dict or str
        Configurations of numcodecs, in the order in which the filters were applied. Levels say
        nothing of how a chunk is read, and are the same for all.
    """
    found: list[dict[str, Any]] = []
    size: int | None = layout.chunk_bytes
    for one in layout.filters:
        if one.id == SHUFFLE:
            width = one.options[0] if one.options else layout.dtype.itemsize
            if size is None or size % width:
                return f"its filter shuffle has elements of {width} bytes that do not fit its bytes"
            found.append({"id": "shuffle", "elementsize": width})
        elif one.id == FLETCHER32:
            found.append({"id": "fletcher32"})
            size = None if size is None else size + LENGTH
        elif one.id in _COMPRESSORS:
            found.append(dict(_COMPRESSORS[one.id]))
            size = None
        else:
            return f"Zarr has no codec for its filter {one.name} ({one.id})"
    return tuple(found)


def encoded(data: bytes, codecs: Iterable[dict[str, Any]]) -> bytes:
    """A chunk's bytes as these codecs read them."""
    from numcodecs import get_codec

    for one in codecs:
        data = bytes(get_codec(dict(one)).encode(data))
    return data
