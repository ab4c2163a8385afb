"""Layouts read straight off h5py, and a source that counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import h5py
import numpy as np

from hpclaunch.storage.layout import NOWHERE, Filter, Identity, Layout
from hpclaunch.storage.source import LocalFile, open_source

WHERE = "variable /v"


def layout_of(path, name="v") -> Layout:
    """Where a dataset's bytes lie, as h5py tells it."""
    with h5py.File(path, "r") as file:
        one = file[name]
        fill = np.asarray(one.fillvalue, one.dtype).tobytes()
        if one.chunks is None:
            offset = one.id.get_offset()
            return Layout(
                "contiguous",
                one.shape,
                one.dtype,
                fill=fill,
                offsets=np.array(NOWHERE if offset is None else offset, np.uint64),
                sizes=np.array(one.id.get_storage_size(), np.uint64),
            )
        plist = one.id.get_create_plist()
        stages = [plist.get_filter(i) for i in range(plist.get_nfilters())]
        filters = tuple(Filter(f[0], f[3].decode(), tuple(f[2])) for f in stages)
        grid = tuple(-(-n // c) for n, c in zip(one.shape, one.chunks, strict=True))
        offsets = np.full(grid, NOWHERE)
        sizes = np.zeros(grid, np.uint32)
        masks = np.zeros(grid, np.uint32)

        def note(chunk):
            at = tuple(o // c for o, c in zip(chunk.chunk_offset, one.chunks, strict=True))
            offsets[at], sizes[at] = chunk.byte_offset, chunk.size
            masks[at] = chunk.filter_mask

        one.id.chunk_iter(note)
        return Layout(
            "chunked",
            one.shape,
            one.dtype,
            one.chunks,
            filters,
            fill,
            offsets,
            sizes,
            masks if masks.any() else None,
        )


@dataclass
class Counting:
    """A local file that notes each read."""

    file: LocalFile
    reads: list[tuple[int, int]] = field(default_factory=list)

    far = False

    @property
    def identity(self) -> Identity:
        return self.file.identity

    def read(self, offset, into):
        self.reads.append((offset, into.nbytes))
        self.file.read(offset, into)

    def read_each(self, offsets, sizes, into):
        self.reads += zip(offsets, sizes, strict=True)
        self.file.read_each(offsets, sizes, into)

    def check(self):
        self.file.check()


def counting(path) -> Counting:
    return Counting(open_source(str(path)))


def standard(folder, name="a.h5", **how):
    """A file of 12 chunks, its layout and its values."""
    data = np.random.default_rng(4).integers(0, 1000, (12, 20, 30)).astype("<f4")
    path = folder / name
    with h5py.File(path, "w") as file:
        how = {"chunks": (1, 20, 30), "compression": 4, "shuffle": True} | how
        file.create_dataset("v", data=data, **how)
    return path, layout_of(path), data


ALL = (slice(None),) * 3
