"""libdeflate's decoder of zlib streams, from address to address: nothing is allocated for a chunk.

The library is the one inside the package ``deflate``, whose own functions give a new object each
time. Where it does not show its functions they are not used.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Inflate", "available", "inflater", "pointers"]

Inflate = Callable[[int, int, int, int, None], int]
"""Address and bytes of the stream, address and bytes of what it holds; 0 if all is well."""


@functools.cache
def _library() -> Any:
    """The library, or None."""
    try:
        import deflate
        from deflate import _deflate

        found = ctypes.CDLL(_deflate.__file__)
        found.libdeflate_alloc_decompressor.argtypes = []
        found.libdeflate_alloc_decompressor.restype = ctypes.c_void_p
        found.libdeflate_free_decompressor.argtypes = [ctypes.c_void_p]
        found.libdeflate_free_decompressor.restype = None
        number, address = ctypes.c_size_t, ctypes.c_void_p
        inflate = found.libdeflate_zlib_decompress
        inflate.argtypes = [address, address, number, address, number, address]
        inflate.restype = ctypes.c_int
        stream = bytes(deflate.zlib_compress(b"abc" * 100))
    except (ImportError, OSError, AttributeError, TypeError):
        return None
    return found if _serves(found, stream) else None


def _serves(library: Any, stream: bytes) -> bool:
    """Whether a stream comes out right, and one of another length or with damage is refused."""
    mine = _Decompressor(library)
    if mine.address is None:
        return False
    whole = ctypes.create_string_buffer(300)
    source = ctypes.create_string_buffer(stream, len(stream))
    to, at = ctypes.addressof(whole), ctypes.addressof(source)
    if mine.inflate(at, len(stream), to, 300, None) or whole.raw != b"abc" * 100:
        return False
    longer = ctypes.create_string_buffer(301)
    refused = mine.inflate(at, len(stream), ctypes.addressof(longer), 301, None)
    refused_too = mine.inflate(at, len(stream), to, 299, None)
    source[len(stream) - 1] = bytes([stream[-1] ^ 1])
    return bool(refused and refused_too and mine.inflate(at, len(stream), to, 300, None))


class _Decompressor:
    """The library's working memory, given back with this object."""

    def __init__(self, library: Any) -> None:
        self.address = library.libdeflate_alloc_decompressor()
        self.free = library.libdeflate_free_decompressor
        function = ctypes.cast(library.libdeflate_zlib_decompress, ctypes.c_void_p)
        self.function: int = function.value or 0
        self.inflate: Inflate = functools.partial(
            library.libdeflate_zlib_decompress, ctypes.c_void_p(self.address)
        )

    def __del__(self) -> None:
        if self.address is not None:
            self.free(self.address)


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.decompressor: _Decompressor | None = None


_mine = _OfThread()


def available() -> bool:
    """Whether `inflater` gives one."""
    return _library() is not None


def inflater() -> Inflate:
    """This thread's decoder; not to be called by another thread.

    Raises
    ------
    MemoryError
        If there is no room for its working memory.
    """
    return _of_this_thread().inflate


def pointers() -> tuple[int, int]:
    """Addresses of the function and of this thread's decoder, for compiled code.

    Raises
    ------
    MemoryError
        If there is no room for its working memory.
    """
    mine = _of_this_thread()
    return mine.function, mine.address


def _of_this_thread() -> _Decompressor:
    if _mine.decompressor is None:
        made = _Decompressor(_library())
        if made.address is None:
            raise MemoryError("no memory for libdeflate")
        _mine.decompressor = made
    return _mine.decompressor
