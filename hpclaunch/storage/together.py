"""The usual pipeline, deflate mostly behind shuffle, undone by compiled code for many chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import addressof, c_char
from typing import TYPE_CHECKING

import numpy as np

from hpclaunch.storage import straight
from hpclaunch.storage.buffers import borrowed
from hpclaunch.storage.compiled import How, compiled
from hpclaunch.storage.decode import Pipeline
from hpclaunch.storage.direct import Direct
from hpclaunch.storage.job import Decoding
from hpclaunch.storage.pace import pace
from hpclaunch.storage.placing import Placer
from hpclaunch.storage.source import LocalFile
from hpclaunch.storage.unshuffle import pointer

if TYPE_CHECKING:
    from hpclaunch.storage.chunked import ChunkedRead
    from hpclaunch.storage.requests import Request

__all__ = ["FEW", "Together", "decode_each"]

FEW = 4
"""Chunks that are decoded no faster together."""

LARGE = 4 << 20
"""Bytes of a chunk, stored or wanted, from which on nothing is gained either, and memory lost."""

_IN_CACHE = 2 << 20
"""Bytes that are read at a time where reading is nothing but copying."""

_GAP = 64 << 10
"""Bytes between two chunks that are copied for nothing rather than reading twice."""

_STREAMS = 12 << 20
"""Bytes of a result whose beginning has left the cache when its end is decoded, as each core has
one to four megabytes of the last cache."""


class Together:
    """How the chunks of a selection are decoded and placed.

    It does not hold the read that it belongs to and which holds it: the result would stay in memory
    until Python looks for such cycles.

    Parameters
    ----------
    direct : Direct or None
        What becomes of the stored values.
    streams : bool
        Whether values are written past the cache.
    """

    def __init__(self, direct: Direct | None, *, streams: bool) -> None:
        self.direct = direct
        self.streams = streams
        # Made when it is first wanted, without a lock: a child of a fork must not wait for one.
        self._placer: Placer | None = None

    @classmethod
    def of(
        cls, pipeline: Pipeline, elements: int, out: np.ndarray, decoding: Decoding | None
    ) -> Together | None:
        """Compiled code for chunks of so many elements, if it can do what becomes of them too.

        Parameters
        ----------
        pipeline : Pipeline
        elements : int
        out : numpy.ndarray
            Where they go.
        decoding : Decoding or None
            Prepared.
        """
        if not pipeline.many or compiled() is None or not out.flags.aligned:
            return None
        if max(pipeline.size, elements * out.itemsize) > LARGE:
            return None
        direct = None if decoding is None else decoding.direct
        if decoding is not None and direct is None:
            return None
        return cls(direct, streams=out.nbytes >= _STREAMS)

    def read_request(self, reading: ChunkedRead, request: Request) -> bool:
        """Read what a request brings, a part at a time, and decode it where it is wanted.

        False where that cannot be done, or went wrong: then what it brings has to be read anew.
        """
        js = slice(request.start, request.stop)
        straight, source = reading.straight, reading.source
        few = request.stop - request.start <= FEW
        if straight is None or few or not isinstance(source, LocalFile):
            return False
        starts = straight[reading.numbers[js]]
        if starts.min() < 0:
            return False
        stored = reading.places[js], reading.lengths[js]
        return self.read(source, reading.pipeline, *stored, reading.address + starts)

    def read(
        self,
        source: LocalFile,
        pipeline: Pipeline,
        offsets: np.ndarray,
        sizes: np.ndarray,
        targets: np.ndarray,
    ) -> bool:
        """Read chunks, a part at a time, and decode each where it is wanted.

        False where that cannot be done, or went wrong: then they have to be read anew.

        Parameters
        ----------
        source, pipeline
        offsets, sizes, targets : numpy.ndarray
            int64, one dimension, in C order: byte of the file and bytes of each stored chunk, and
            the address where it is wanted; there may be more addresses. Chunks that lie nowhere
            (a negative byte) or behind the end are refused.
        """
        if not pace.copies or sizes.max() > _IN_CACHE:
            return False
        code = compiled()
        assert code is not None
        how, _rooms = _how(pipeline, self.direct, self.streams)
        stored, reads = borrowed("stored chunks", _IN_CACHE), np.zeros(2, np.int64)
        arrays = (one.ctypes.data for one in (offsets, sizes, targets, stored))
        with source.descriptor() as number:
            done = code.read_and_decode(
                *(addressof(how), number, len(sizes), *arrays),
                *(stored.size, _GAP, reads.ctypes.data),
            )
        count, waited = reads.tolist()
        if count:
            pace.note(waited / count / 1e9)
        return done == len(sizes)

    def place(
        self, reading: ChunkedRead, parts: list[tuple[Sequence[int], int]], view: memoryview
    ) -> None:
        """Decode chunks, whose stored bytes are in `view`, and put them into the result.

        `parts`: chunks, with the byte of the file that would stand at the start of `view`.
        """
        js = np.concatenate([np.array(some, np.int64) for some, _ in parts])
        bases = np.repeat([base for _, base in parts], [len(some) for some, _ in parts])
        whole = np.zeros(js.size, bool)
        if reading.straight is not None:
            starts = reading.straight[reading.numbers[js]]
            whole = starts >= 0
            targets = reading.address + starts[whole]
            self._decode(reading, js[whole], bases[whole], view, targets)
        self._decode(reading, js[~whole], bases[~whole], view, None)

    def _decode(
        self,
        reading: ChunkedRead,
        js: np.ndarray,
        bases: np.ndarray,
        view: memoryview,
        targets: np.ndarray | None,
    ) -> None:
        """To each one's target, or what is wanted of it to where the selection says."""
        if not js.size:
            return
        sources = reading.places[js] + (addressof(c_char.from_buffer(view)) - bases)
        sizes, ks = reading.lengths[js], reading.numbers[js]
        if targets is None:
            wrong = self._decode_and_place(reading, sources, sizes, ks)
        else:
            more = self.direct, self.streams
            wrong = decode_each(reading.pipeline, sources, sizes, targets, *more)
        if wrong >= 0:
            j = int(js[wrong])
            at = reading.offsets[j] - int(bases[wrong])
            reading.explain(j, view[at : at + reading.sizes[j]])

    def _decode_and_place(
        self, reading: ChunkedRead, sources: np.ndarray, sizes: np.ndarray, ks: np.ndarray
    ) -> int:
        """As `decode_each`, to memory that is used again, and on to the result."""
        code = compiled()
        assert code is not None
        how, _rooms = _how(reading.pipeline, self.direct)
        placer = self._placer
        if placer is None:
            placer = self._placer = Placer(reading.pieces, reading.chunks, reading.out)
        chunk = borrowed("chunk", math.prod(reading.chunks) * placer.out.itemsize)
        arrays = (one.ctypes.data for one in (sources, sizes, ks, chunk))
        wrong = code.decode_and_place(addressof(how), len(sources), *arrays, *placer.arguments)
        assert wrong >= -1
        return wrong


def decode_each(
    pipeline: Pipeline,
    sources: np.ndarray,
    sizes: np.ndarray,
    targets: np.ndarray,
    direct: Direct | None = None,
    streams: bool = False,
) -> int:
    """Decode chunks; only where compiled code is there and the pipeline is the usual one.

    Parameters
    ----------
    pipeline : Pipeline
    sources, sizes, targets : numpy.ndarray
        int64, one dimension, in C order: address and bytes of each stored chunk, and the address
        where it is wanted.
    direct : Direct, optional
        What becomes of the stored values.
    streams : bool, default False
        Whether values are written past the cache.

    Returns
    -------
    int
        Which is the first that cannot be decoded; -1 if there is none.
    """
    code = compiled()
    assert code is not None
    how, _rooms = _how(pipeline, direct, streams)
    arrays = (one.ctypes.data for one in (sources, sizes, targets))
    return code.decode(addressof(how), len(sources), *arrays)


def _how(
    pipeline: Pipeline, direct: Direct | None, streams: bool = False
) -> tuple[How, tuple[np.ndarray, ...]]:
    """What chunks.c wants of the pipeline, and the memory that it points to."""
    assert pipeline.many
    turns = pipeline.width > 1
    planes = borrowed("planes", pipeline.size if turns else 1)
    stored = borrowed("stored", 1 if direct is None or direct.table is None else pipeline.size)
    how = How(size=pipeline.size, width=pipeline.width, planes=planes.ctypes.data, streams=streams)
    how.inflate, how.decompressor = straight.pointers()
    how.unshuffle = pointer() if turns else None
    assert how.unshuffle or not turns
    for name, value in ({} if direct is None else direct.fields(stored.ctypes.data)).items():
        setattr(how, name, value)
    return how, (planes, stored)
