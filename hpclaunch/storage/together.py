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
from hpclaunch.storage.placing import Placer
from hpclaunch.storage.unshuffle import pointer

if TYPE_CHECKING:
    from hpclaunch.storage.chunked import ChunkedRead

__all__ = ["FEW", "LARGE", "Together", "decode_each"]

FEW = 4
"""Chunks that are decoded no faster together."""

LARGE = 4 << 20
"""Bytes of a chunk, stored or wanted, from which on nothing is gained either, and memory lost."""


class Together:
    """How the chunks of a selection are decoded and placed.

    Parameters
    ----------
    reading : ChunkedRead
        With the usual pipeline, for all chunks alike.
    direct : Direct or None
        What becomes of the stored values.
    """

    def __init__(self, reading: ChunkedRead, direct: Direct | None) -> None:
        self.reading = reading
        self.direct = direct
        # Made when they are first wanted, without a lock: a child of a fork must not wait for one.
        self._placer: Placer | None = None
        self._targets: np.ndarray | None = None

    @property
    def placer(self) -> Placer:
        """Where the chunks go."""
        found = self._placer
        if found is None:
            reading = self.reading
            found = self._placer = Placer(reading.pieces, reading.chunks, reading.out)
        return found

    @property
    def targets(self) -> np.ndarray | None:
        """The address where each chunk lies in one piece; below that of the result: it does not."""
        starts = self.reading.straight
        if self._targets is None and starts is not None:
            self._targets = self.reading.address + np.array(starts, np.int64)
        return self._targets

    def place(self, parts: list[tuple[Sequence[int], int]], view: memoryview) -> None:
        """Decode chunks, whose stored bytes are in `view`, and put them into the result.

        `parts`: chunks, with the byte of the file that would stand at the start of `view`.
        """
        js = np.concatenate([np.array(some, np.int64) for some, _ in parts])
        bases = np.repeat([base for _, base in parts], [len(some) for some, _ in parts])
        whole = np.zeros(js.size, bool)
        if (targets := self.targets) is not None:
            whole = targets[self.reading.numbers[js]] >= self.reading.address
            self._decode(js[whole], bases[whole], view, targets)
        self._decode(js[~whole], bases[~whole], view, None)

    def _decode(
        self, js: np.ndarray, bases: np.ndarray, view: memoryview, targets: np.ndarray | None
    ) -> None:
        """To where `targets` says, or what is wanted of each to where the selection says."""
        if not js.size:
            return
        reading = self.reading
        sources = reading.places[js] + (addressof(c_char.from_buffer(view)) - bases)
        sizes, ks = reading.lengths[js], reading.numbers[js]
        if targets is None:
            wrong = self._decode_and_place(sources, sizes, ks)
        else:
            wrong = decode_each(reading.pipeline, sources, sizes, targets[ks], self.direct)
        if wrong >= 0:
            j = int(js[wrong])
            at = reading.offsets[j] - int(bases[wrong])
            reading.explain(j, view[at : at + reading.sizes[j]])

    def _decode_and_place(self, sources: np.ndarray, sizes: np.ndarray, ks: np.ndarray) -> int:
        """As `decode_each`, to memory that is used again, and on to the result."""
        code, pipeline = compiled(), self.reading.pipeline
        assert code is not None
        how, _rooms = _how(pipeline, self.direct)
        placer = self.placer
        chunk = borrowed("chunk", math.prod(self.reading.chunks) * placer.out.itemsize)
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

    Returns
    -------
    int
        Which is the first that cannot be decoded; -1 if there is none.
    """
    code = compiled()
    assert code is not None
    how, _rooms = _how(pipeline, direct)
    arrays = (one.ctypes.data for one in (sources, sizes, targets))
    return code.decode(addressof(how), len(sources), *arrays)


def _how(pipeline: Pipeline, direct: Direct | None) -> tuple[How, tuple[np.ndarray, ...]]:
    """What chunks.c wants of the pipeline, and the memory that it points to."""
    assert pipeline.many
    turns = pipeline.width > 1
    planes = borrowed("planes", pipeline.size if turns else 1)
    stored = borrowed("stored", 1 if direct is None or direct.table is None else pipeline.size)
    how = How(size=pipeline.size, width=pipeline.width, planes=planes.ctypes.data)
    how.inflate, how.decompressor = straight.pointers()
    how.unshuffle = pointer() if turns else None
    assert how.unshuffle or not turns
    for name, value in ({} if direct is None else direct.fields(stored.ctypes.data)).items():
        setattr(how, name, value)
    return how, (planes, stored)
