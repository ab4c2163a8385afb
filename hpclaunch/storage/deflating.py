"""Deflate chunks: what does not become smaller is stored as it is, the rest is libdeflate's work.

The last bits of measured or computed numbers are noise. Shuffle puts them together, in planes at
the front of a little-endian chunk, and looking for repetitions in them is most of the work and
brings nothing. Such planes become stored blocks, which any inflate copies (RFC 1950, RFC 1951
section 3.2.4). Which ones that are is found out by deflating a piece out of `TRUST`; of the pieces
between a sample has to agree.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["TRUST", "Deflater"]

TRUST = 16
"""So many pieces of a plane are taken to be alike."""

_LOWEST = 2  # level of libdeflate: at 1 it leaves more than zlib does
_MOST = 65535  # bytes of a stored block
_LEAST = 8192  # bytes of a plane for which it is worth the trouble
_SNIPPETS, _SNIPPET = 16, 256  # of a sample, and bytes of each
_HEADER = b"\x78\x5e"  # RFC 1950: deflate with a window of 32 KiB, a fast level


class Deflater:
    """Deflates chunks of one variable, one after the other; not for several threads at once.

    It remembers which planes did not become smaller. What comes out depends on the chunks before,
    what it inflates to does not.
    """

    def __init__(self) -> None:
        # By plane: so many pieces are taken to stay as they are; negative: to shrink, chunks.
        self._trust: dict[int, int] = {}

    def __call__(self, data: Any, level: int, width: int = 1) -> Any:
        """A zlib stream.

        Parameters
        ----------
        data : bytes-like
            A chunk, contiguous.
        level : int
            As of zlib; libdeflate leaves no more bytes at the same one, but for 1.
        width : int
            Bytes of an element where the chunk was shuffled, else 1.

        Returns
        -------
        bytes-like
        """
        library = _library()
        if level < 1 or library is None:
            return zlib.compress(data, level)
        level = max(level, _LOWEST)
        data = memoryview(data)
        stored = self._stored(library.deflate_compress, data, level, width)
        if not stored:
            return library.zlib_compress(data, level)
        parts: list[bytes | memoryview] = [_HEADER]
        for piece in stored:
            length = len(piece).to_bytes(2, "little")
            parts += [b"\0", length, bytes(0xFF ^ one for one in length), piece]
        rest = data[sum(map(len, stored)) :]
        checksum = library.adler32(data).to_bytes(4, "big")
        return b"".join([*parts, library.deflate_compress(rest, level), checksum])

    def _stored(
        self, compress: Callable[[Any, int], Any], data: memoryview, level: int, width: int
    ) -> list[memoryview]:
        """The pieces at the front that do not become smaller."""
        found: list[memoryview] = []
        size = len(data) // width
        if width < 2 or size < _LEAST:
            return found
        step = -(-size // -(-size // _MOST))
        for plane in range(width):
            for at in range(plane * size, (plane + 1) * size, step):
                trust = self._trust.get(plane, 0)
                if trust < 0:
                    self._trust[plane] = trust + 1
                    return found
                piece = data[at : min(at + step, (plane + 1) * size)]
                probed = (piece, level) if not trust else (_sample(piece), 1)
                if len(compress(*probed)) < len(probed[0]):
                    self._trust[plane] = 0 if trust else 1 - TRUST
                    return found
                found.append(piece)
                self._trust[plane] = trust - 1 if trust else TRUST - 1
        return found


def _sample(piece: memoryview) -> bytes:
    """Snippets of a piece, at equal distances."""
    rows = np.frombuffer(piece, np.uint8)[: len(piece) // _SNIPPETS * _SNIPPETS]
    return rows.reshape(_SNIPPETS, -1)[:, :_SNIPPET].tobytes()


@functools.cache
def _library() -> Any:
    try:
        import deflate
    except ImportError:
        return None
    return deflate
