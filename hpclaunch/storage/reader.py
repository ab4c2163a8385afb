"""A selection of a variable as an array: which bytes, read how, decoded by whom.

Memory while reading: the result, for each thread a request, 2 MiB of one that is read in parts, and
a chunk (as inflated, as stored and, up to 4 MiB, as wanted), and the cache of decoded chunks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.cachedread import CachedRead
from hpclaunch.storage.chunkcache import cache
from hpclaunch.storage.chunked import ChunkedRead
from hpclaunch.storage.cores import memory, threads_here
from hpclaunch.storage.extents import ExtentRead
from hpclaunch.storage.job import Decoding, Job
from hpclaunch.storage.layout import Layout
from hpclaunch.storage.pace import pace
from hpclaunch.storage.pool import free_threads, run
from hpclaunch.storage.requests import bundled, coalesce
from hpclaunch.storage.selection import Key, Selection, select
from hpclaunch.storage.small import SMALL
from hpclaunch.storage.source import LocalFile, Source
from hpclaunch.storage.wholes import read_whole, whole

__all__ = ["Options", "read"]

_FEW = 16  # small chunks of a selection that are looked for in the cache one by one
_LEAST = 1 << 20  # bytes of a request that is made smaller so that more threads have work
_LEAST_FAR = 4 << 20  # the same over a network, where many are under way at once


@dataclass(frozen=True)
class Options:
    """How to read.

    Attributes
    ----------
    request : int
        Bytes of one read at most.
    gap : int
        Bytes between two pieces that are read for nothing rather than asking twice. The default
        suits a local disk; where a request takes milliseconds, megabytes do.
    align : int
        Bytes of a stripe, 0 where there are none.
    threads : int
        That read in this process at most; 0: those of the Dask worker, or the cores. Where reads
        wait for the storage, half as many again (at least one) read ahead.
    ahead : int
        Threads that read besides, because each waits for an answer over the network most of its
        time; requests are not put behind one another then.
    cache : int
        Bytes of decoded chunks that the process keeps: by default 128 MiB, or a 32nd of the memory
        where that is less.
    """

    request: int = 8 << 20
    gap: int = 64 << 10
    align: int = 0
    threads: int = 0
    ahead: int = 0
    cache: int = min(128 << 20, memory() // 32)


_USUAL = Options()


def read(
    source: Source,
    layout: Layout,
    key: Key,
    *,
    where: str,
    options: Options = _USUAL,
    decoding: Decoding | None = None,
    into: np.ndarray | None = None,
) -> np.ndarray:
    """Read a selection.

    Parameters
    ----------
    source : Source
    layout : Layout
        Of the variable.
    key : tuple
        For each dimension an int (the dimension is dropped), a slice with any step, or an array of
        integers (one dimension, any order). Each dimension is indexed by itself.
    where : str
        ``variable /group/name``, for errors.
    options : Options
    decoding : Decoding, optional
        What becomes of the stored values.
    into : numpy.ndarray, optional
        Where they are wanted: of the selection's shape and of the dtype that comes out, in C order.

    Returns
    -------
    numpy.ndarray
        `into`, or of the dtype of the layout or of `decoding`, in C order, writable, its own
        memory.

    Raises
    ------
    IndexError
        If the key does not fit.
    ValueError
        If `into` is not what it has to be.
    CorruptFile
        If the file's bytes are not what its format or a checksum say.
    ChangedFile
        If the file was written to or replaced.
    StorageError
        If a chunk is too large for this machine's memory, or its layout is not read here.
    OSError
        If the system refuses to read.
    """
    if layout.kind == "other":
        raise StorageError(
            f"{source.identity.path}: {where} is not read here: {layout.reason or 'no layout'}",
            hint="open the file with engine netcdf4 or h5netcdf",
        )
    dtype = layout.dtype if decoding is None else decoding.dtype
    if (numbers := whole(layout, key)) and layout.filters:
        into = _result(into, _shape(layout, numbers), dtype)
        if _at_once(source, layout, numbers, into, options, decoding):
            source.check()
            return into
    chunks = layout.shape if layout.chunks is None else layout.chunks
    bare = not layout.filters
    jump = _jump(chunks, layout.dtype.itemsize, options.gap) if bare else None
    selection = select(key, layout.shape, chunks, jump)
    into = _result(into, selection.kept, dtype)
    out = into.reshape(selection.shape)
    if out.size:
        if decoding is not None:
            decoding.prepare(out.size)
        job = Job(source, layout, selection, out, where, decoding)
        if bare and _in_part(layout, selection):
            _by_extents(job, options)
        else:
            _by_chunks(job, options)
        source.check()
    return into


def _result(into: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Memory for the values; that of the caller, if it is such that values can be put there."""
    if into is None:
        return np.empty(shape, dtype)
    if into.shape != shape or into.dtype != dtype:
        raise ValueError(
            f"values of shape {shape} and {dtype} do not go into {into.shape}, {into.dtype}"
        )
    if not (into.flags.c_contiguous and into.flags.writeable):
        raise ValueError("values are put into memory in C order that can be written to")
    return into


def _shape(layout: Layout, numbers: range) -> tuple[int, ...]:
    """Of chunks in a row."""
    assert layout.chunks is not None
    return (len(numbers) * layout.chunks[0], *layout.shape[1:])


def _at_once(
    source: Source,
    layout: Layout,
    numbers: range,
    out: np.ndarray,
    options: Options,
    decoding: Decoding | None,
) -> bool:
    """Read whole chunks by this thread alone, where no other is free to help."""
    limit = _limit(options)
    if not isinstance(source, LocalFile) or not pace.copies or free_threads(limit) > 1:
        return False
    if decoding is not None:
        decoding.prepare(out.size)
    done = []
    run([numbers], lambda some: done.append(read_whole(source, layout, some, out, decoding)), limit)
    return done[0]


def _jump(chunks: tuple[int, ...], itemsize: int, gap: int) -> tuple[int, ...]:
    """How far positions of each dimension may lie apart to be read together."""
    jumps = []
    stride = itemsize
    for n in reversed(chunks):
        jumps.append(1 + gap // max(stride, 1))
        stride *= n
    return tuple(reversed(jumps))


def _in_part(layout: Layout, selection: Selection) -> bool:
    """Whether less than half of what the touched chunks hold is wanted."""
    if layout.chunks is None:
        return True
    touched = math.prod(len(ps) for ps in selection.pieces) * math.prod(layout.chunks)
    return layout.chunk_bytes > 4096 and 2 * selection.size < touched


def _by_extents(job: Job, options: Options) -> None:
    reading = ExtentRead(job, request=options.request, gap=options.gap)
    bundles = reading.requests(options.align)
    run(bundles, reading.work, _limit(options), more=not options.ahead)


def _by_chunks(job: Job, options: Options) -> None:
    layout, selection = job.layout, job.selection
    limit = _limit(options)
    caching = bool(layout.filters and options.cache)
    keep = caching and _worth_keeping(layout, selection, options.cache)
    reading: ChunkedRead
    if keep or (caching and cache.bytes and not _many_small(layout, selection)):
        reading = CachedRead(job, budget=options.cache, keep=keep)
    else:
        reading = ChunkedRead(job)
    if layout.filters and reading.sizes:
        _refuse_giants(job.source, layout, job.where)
    target = options.request
    if options.ahead:
        target = _share(reading.stored, target, limit, _LEAST_FAR)
    elif not pace.slow:
        target = _share(reading.stored, target, 2 * free_threads(limit), _LEAST)
        if keep:
            target = _share(reading.stored, target, 4, _LEAST // 2)
    requests = coalesce(
        reading.offsets, reading.sizes, request=target, gap=options.gap, align=options.align
    )
    bundles = bundled(requests, target, 1 if options.ahead else 64)
    run(bundles, reading.work, limit, more=not options.ahead)
    reading.finish()


def _limit(options: Options) -> int:
    return (options.threads or threads_here()) + options.ahead


def _share(total: int, request: int, parts: int, least: int) -> int:
    """Bytes of a request, so that there are about as many as `parts`."""
    if parts <= 2:
        return request
    return max(min(request, -(-total // parts)), min(least, request))


def _worth_keeping(layout: Layout, selection: Selection, budget: int) -> bool:
    """Whether decoded chunks go into the cache.

    They do where a selection takes a part of them that is more than a point, so that its
    neighbours are probably read next, and where they leave room for what was read before.
    """
    assert layout.chunks is not None
    chunks = math.prod(len(ps) for ps in selection.pieces)
    if chunks * layout.chunk_bytes > budget // 4 or _many_small(layout, selection):
        return False
    if selection.size >= chunks * math.prod(layout.chunks):
        return False  # all of them: the rest, which counts each chunk's part, is not needed
    valid = math.prod(
        sum(min(c, n - p.chunk * c) for p in ps)
        for ps, c, n in zip(selection.pieces, layout.chunks, layout.shape, strict=True)
    )
    return selection.size < valid <= 4096 * selection.size


def _many_small(layout: Layout, selection: Selection) -> bool:
    """Whether decoding the chunks again costs no more than looking for each in the cache."""
    return layout.chunk_bytes <= SMALL and math.prod(len(ps) for ps in selection.pieces) > _FEW


def _refuse_giants(source: Source, layout: Layout, where: str) -> None:
    most = max(memory() // 4, 64 << 20)
    if layout.chunk_bytes > most:
        raise StorageError(
            f"{source.identity.path}: a chunk of {where} has {layout.chunk_bytes} bytes, and no "
            f"more than {most} (a quarter of the memory) are decoded here",
            hint="write the file again with smaller chunks (`nccopy -c`), or use a larger machine",
        )
