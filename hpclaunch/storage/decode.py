"""Undo the filters of one chunk: deflate, shuffle, fletcher32, in any order. No file is touched.

Whatever the bytes are, a chunk comes out with exactly the size that its layout says, or
`CorruptFile` is raised. Adler-32 (of deflate) and fletcher32 are verified.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from ctypes import addressof, c_char
from itertools import repeat

import numpy as np

from hpclaunch.errors import CorruptFile, StorageError
from hpclaunch.storage import fletcher32, straight
from hpclaunch.storage.buffers import borrowed
from hpclaunch.storage.compiled import compiled
from hpclaunch.storage.layout import DEFLATE, FLETCHER32, SHUFFLE, Filter
from hpclaunch.storage.unshuffle import Unshuffle, library, unshuffle

__all__ = ["Pipeline", "decoders"]

_EXPANSION = 1032
"""Deflate makes no more bytes than this of one (zlib's own figure, zlib_tech.html)."""

_NOT_INFLATED = "it does not inflate to {} bytes with the checksum (Adler-32) it carries"
_from_buffer = c_char.from_buffer

_SHORT = 1 << 16
"""Bytes that are unshuffled without letting another thread run, which would cost more."""

_TOLD = {DEFLATE: "deflate", SHUFFLE: "shuffle", FLETCHER32: "fletcher32"}


def decoders() -> dict[str, str]:
    """What decodes here, for people: ``{"deflate": "libdeflate (deflate 0.9.0)", ...}``."""
    return {
        "deflate": _INFLATER,
        "shuffle": "blosc2" if library() is not None else "numpy",
        "fletcher32": "numpy",
        "many chunks at once": "compiled code" if compiled() is not None else "Python",
    }


class Pipeline:
    """The filters of one variable, ready to be undone.

    Parameters
    ----------
    filters : sequence of Filter
        In the order in which they were applied.
    size : int
        Bytes of a decoded chunk.

    Attributes
    ----------
    width : int
        Where all there is is deflate, or deflate behind shuffle: bytes of an element for unshuffle,
        1 where there is no shuffle. 0: another pipeline.

    Raises
    ------
    StorageError
        If one of them is not decoded here.
    """

    def __init__(self, filters: Sequence[Filter], size: int, itemsize: int) -> None:
        unknown = [one.name or str(one.id) for one in filters if one.id not in _TOLD]
        if unknown:
            raise StorageError(f"the filter {unknown[0]} is not decoded here")
        self.filters = tuple(filters)
        self.size = size
        self.itemsize = itemsize
        self._stages: dict[int, tuple[tuple[int, int, int], ...]] = {}
        self.width, self._fast = self._shortcut()

    def least(self, mask: int = 0) -> int:
        """The fewest stored bytes that can hold a chunk."""
        least = self.size
        for number, _, _ in reversed(self.stages(mask)):
            if number == DEFLATE:
                least = -(-least // _EXPANSION)
            elif number == FLETCHER32:
                least += fletcher32.LENGTH
        return least

    def stages(self, mask: int = 0) -> tuple[tuple[int, int, int], ...]:
        """The stages to undo, the last applied first: number, width of an element, bytes after.

        The bytes are those that come out when the stage is undone; -1 where they are not known,
        because another deflate comes behind.
        """
        found = self._stages.get(mask)
        if found is None:
            found = self._stages[mask] = self._make(mask)
        return found

    def _shortcut(self) -> tuple[int, Unshuffle | None]:
        """Deflate, mostly behind shuffle, needs none of the generality of `decode`.

        Returns
        -------
        width : int
            Of an element; 1 where there is no shuffle, 0 where it is another pipeline.
        unshuffle : callable or None
        """
        stages = self.stages()
        numbers = [one[0] for one in stages]
        if _inflate is not _by_libdeflate or not straight.available() or not 0 < self.size < 2**31:
            return 0, None
        if numbers == [DEFLATE]:
            return 1, None
        if numbers != [DEFLATE, SHUFFLE]:
            return 0, None
        width = stages[1][1]
        if width < 2 or 2 * width > self.size:
            return 1, None  # shuffle leaves single bytes, and a single element, as they are
        usual = 2 <= width < 256 and self.size % width == 0 and 2 * width <= self.size
        fast = library(self.size < _SHORT) if usual else None
        return (width, fast) if fast is not None else (0, None)

    @property
    def many(self) -> bool:
        """Whether many chunks can be decoded at once."""
        return self.width > 0

    def _make(self, mask: int) -> tuple[tuple[int, int, int], ...]:
        size, stages = self.size, []
        for position, one in enumerate(self.filters):
            if mask >> position & 1:
                continue
            width = one.options[0] if one.id == SHUFFLE and one.options else self.itemsize
            stages.append((one.id, width, size))
            if one.id == DEFLATE:
                size = -1
            elif one.id == FLETCHER32 and size >= 0:
                size += fletcher32.LENGTH
        return tuple(reversed(stages))

    def admit(self, stored: int, mask: int = 0) -> None:
        """Raise `CorruptFile` if so few bytes cannot hold a chunk; before memory is asked for."""
        if stored < self.least(mask):
            raise CorruptFile(f"{stored} stored bytes cannot hold a chunk of {self.size}")

    def decode_into(self, stored: memoryview, mask: int, into: np.ndarray, address: int) -> None:
        """Undo all stages to where the values are wanted.

        Parameters
        ----------
        stored, mask
            See `decode`.
        into : numpy.ndarray
            uint8, of the size of a chunk.
        address : int
            Of its first byte.

        Raises
        ------
        CorruptFile
            If it cannot have been written like this.
        """
        width, size = self.width, self.size
        if not width or mask or stored.readonly:
            self.decode(stored, mask, into)
            return
        if size > _EXPANSION * len(stored):
            raise CorruptFile(f"{len(stored)} stored bytes cannot hold a chunk of {size}")
        source = addressof(_from_buffer(stored))
        fast = self._fast
        # Beyond some size nobody else keeps what is borrowed: `room` must live until it was read.
        room = None if fast is None else borrowed("planes", size)
        planes = address if room is None else room.ctypes.data
        if straight.inflater()(source, len(stored), planes, size, None):
            raise CorruptFile(_NOT_INFLATED.format(size))
        if fast is not None:
            fast(width, size, planes, address)
        del room

    def decode_many(self, sources: list[int], sizes: list[int], into: np.ndarray) -> int:
        """Undo the usual pipeline of chunks of a few kilobytes; only where `many` is true.

        Parameters
        ----------
        sources, sizes : list of int
            Address and bytes of each stored chunk.
        into : numpy.ndarray
            uint8, where the decoded chunks are wanted one behind another.

        Returns
        -------
        int
            Which is the first that cannot be decoded; -1 if there is none.
        """
        count, size, width = len(sources), self.size, self.width
        planes = into if width == 1 else borrowed("planes", count * size)
        start = planes.ctypes.data
        targets = range(start, start + count * size, size)
        codes = map(straight.inflater(), sources, sizes, targets, repeat(size), repeat(None))
        for position, code in enumerate(codes):
            if code:
                return position
        if width > 1:
            turned = borrowed("turned", count * size)
            turned.reshape(width, count, -1)[...] = planes.reshape(count, width, -1).swapaxes(0, 1)
            unshuffle(turned, width, into)
        return -1

    def decode(
        self, stored: memoryview, mask: int = 0, into: np.ndarray | None = None
    ) -> np.ndarray:
        """Undo all stages.

        Parameters
        ----------
        stored : memoryview
            The bytes of the chunk as they are in the file.
        mask : int
            Bit i is set where stage i was left out for this chunk.
        into : numpy.ndarray, optional
            uint8, of the size of a chunk: where the values are wanted. Not to overlap `stored`.

        Returns
        -------
        numpy.ndarray
            uint8, of the size of a chunk: `into`, or else new memory or a view of `stored`.

        Raises
        ------
        CorruptFile
            If it cannot have been written like this.
        """
        data = np.frombuffer(stored, np.uint8)
        stages = self.stages(mask)
        for at, (number, width, size) in enumerate(stages):
            last = at == len(stages) - 1
            if number == DEFLATE:
                data = np.frombuffer(_exactly(data.data, size, self.size), np.uint8)
            elif number == SHUFFLE:
                data = _unshuffled(data, width, size, into if last else None)
            else:
                data = _verified(data, size)
        return _placed(data, self.size, into)


def _placed(data: np.ndarray, size: int, into: np.ndarray | None) -> np.ndarray:
    if data.size != size:
        raise CorruptFile(f"it holds {data.size} bytes instead of {size}")
    if into is None or data is into:
        return data
    into[:] = data
    return into


def _unshuffled(data: np.ndarray, width: int, size: int, into: np.ndarray | None) -> np.ndarray:
    if size >= 0 and data.size != size:
        raise CorruptFile(f"it holds {data.size} bytes instead of {size} behind shuffle")
    if into is None:
        into = np.empty(data.size, np.uint8)
    unshuffle(data, width, into)
    return into


def _verified(data: np.ndarray, size: int) -> np.ndarray:
    length = data.size - fletcher32.LENGTH
    if length < 0 or (size >= 0 and length != size):
        raise CorruptFile(f"it holds {data.size} bytes, which is not a chunk and its checksum")
    if not fletcher32.matches(data[:length], int.from_bytes(data[length:].tobytes(), "little")):
        raise CorruptFile("its checksum (fletcher32) is not that of its bytes")
    return data[:length]


def _exactly(data: memoryview, size: int, chunk: int) -> bytes | bytearray:
    """Inflate to `size` bytes; where that is -1, to what deflate may have made of a chunk."""
    if size >= 0:
        if size > _EXPANSION * data.nbytes or not size:
            raise CorruptFile(f"{data.nbytes} stored bytes cannot hold {size}")
        return _inflate(data, size)
    engine = zlib.decompressobj()
    try:
        found = engine.decompress(data, chunk + chunk // 8 + 1024)
    except zlib.error as refused:
        raise CorruptFile(f"it does not inflate ({refused})") from None
    if not engine.eof:
        raise CorruptFile("it inflates to more than a chunk can be, or is cut short")
    return found


def _by_zlib(data: memoryview, size: int) -> bytes:
    engine = zlib.decompressobj()
    try:
        found = engine.decompress(data, size + 1)
    except zlib.error as refused:
        raise CorruptFile(f"it does not inflate ({refused})") from None
    if len(found) != size or not engine.eof:
        how = "more than" if len(found) > size else f"{len(found)} bytes instead of"
        raise CorruptFile(f"it inflates to {how} {size}, or is cut short")
    return found


def _by_libdeflate(data: memoryview, size: int) -> bytearray:
    try:
        found: bytearray = _decompress(data, size)
    except _Refused:
        raise CorruptFile(_NOT_INFLATED.format(size)) from None
    if len(found) != size:
        raise CorruptFile(f"it inflates to {len(found)} bytes instead of {size}")
    return found


_inflate: Callable[[memoryview, int], bytes | bytearray]
try:
    import deflate

    _decompress, _Refused = deflate.zlib_decompress, deflate.DeflateError
    _inflate, _INFLATER = _by_libdeflate, f"libdeflate (deflate {deflate.__version__})"
except ImportError:
    _inflate, _INFLATER = _by_zlib, f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
