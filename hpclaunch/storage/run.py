"""Blocks of Dask arrays to chunks of a file: in this process, or on the workers of a cluster.

In this process a task computes a block, encodes it and writes it, so that no more blocks are held
than there are threads. On a cluster the workers encode, the bytes travel to the process that
called, and that writes them: a window of blocks is under way at a time, so that neither side
holds more. The exception are blocks that share most of their work (see `_batches`): the scheduler
gets all of them at once, and the workers hold what Dask lets them.
"""

from __future__ import annotations

import functools
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from hpclaunch.storage.encode import Plan, Stored, encode_block
from hpclaunch.storage.target import ChunkFile
from hpclaunch.storage.window import finished, graph_of

__all__ = [
    "Count",
    "Job",
    "Progress",
    "cluster_client",
    "each_block",
    "fill",
    "fill_plainly",
]

Progress = Callable[[int, int], None]
"""Is called with the bytes (decoded) done and those of all."""

PROBED, PATIENCE = 3, 2.0
"""So many workers are tried, for so many seconds each."""


@dataclass(frozen=True, eq=False)
class Job:
    """A Dask array, in blocks of whole chunks, and how its chunks are made."""

    source: Any
    plan: Plan


@dataclass(frozen=True, eq=False)
class Packet:
    """The chunks of one block on their way.

    Attributes
    ----------
    job : int
        Which array.
    origins : numpy.ndarray
        int64, (chunks, dimensions).
    sizes : numpy.ndarray
        int64, (chunks,): bytes of each.
    data : numpy.ndarray
        uint8: all bytes, one chunk after the other.
    nbytes : int
        Of the block, decoded.
    """

    job: int
    origins: np.ndarray
    sizes: np.ndarray
    data: np.ndarray
    nbytes: int

    def chunks(self) -> Iterator[Stored]:
        ends = np.cumsum(self.sizes)
        for origin, end, size in zip(self.origins, ends, self.sizes, strict=True):
            yield Stored(tuple(int(i) for i in origin), self.data[end - size : end])


def cluster_client(sources: Iterable[Any]) -> Any:
    """The client of a Dask cluster on which the arrays would be computed now, or None."""
    if "distributed" not in sys.modules:
        return None
    from dask.base import get_scheduler
    from distributed import Client

    chosen = get_scheduler(collections=list(sources))
    client = getattr(chosen, "__self__", None)
    return client if isinstance(client, Client) else None


def fill(jobs: Sequence[Job], sink: ChunkFile, progress: Progress | None) -> None:
    """Compute, encode and write all blocks."""
    if not jobs:
        return
    total = sum(job.source.nbytes for job in jobs)
    done = Count(total, progress)
    client = cluster_client(job.source for job in jobs)
    if client is None:
        _in_process(jobs, sink, done)
    else:
        _on_cluster(jobs, sink, done, client)


class Count:
    """Bytes done, told as they grow; its caller holds no lock that a progress bar could need."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.done, self.progress = total, 0, progress

    def add(self, nbytes: int) -> None:
        self.done += nbytes
        if self.progress is not None:
            self.progress(self.done, self.total)


def each_block(job: Job, function: Callable[..., Any], dtype: Any) -> Any:
    """An array with what a function gives for every block of another.

    Parameters
    ----------
    job : Job
    function : callable
        Gets the block, `starts` (of blocks, by dimension), `plan` and `block_id`.
    dtype : dtype
        Of what it gives. The array's own shape is told as one element for every block.
    """
    import dask.array as da

    starts = [tuple(accumulate(lengths[:-1], initial=0)) for lengths in job.source.chunks]
    return da.map_blocks(
        functools.partial(function, starts=starts, plan=job.plan),
        job.source,
        name=f"netcdf-chunks-{secrets.token_hex(16)}",
        dtype=dtype,
        chunks=tuple((1,) * len(lengths) for lengths in job.source.chunks),
        meta=np.empty((0,) * job.source.ndim, dtype),
    )


def _in_process(jobs: Sequence[Job], sink: ChunkFile, done: Count) -> None:
    import dask

    lock = threading.Lock()

    def write(block: Any, starts: Any, plan: Plan, block_id: tuple[int, ...]) -> np.ndarray:
        start = tuple(of[i] for of, i in zip(starts, block_id, strict=True))
        for chunk in encode_block(block, start, plan):
            sink.put(plan, chunk)
        with lock:
            done.add(block.size * plan.dtype.itemsize)
        return np.ones((1,) * len(start), np.int8)

    arrays = [each_block(job, write, np.int8) for job in jobs]
    dask.compute(*arrays, **_not_by_processes(job.source for job in jobs))


def _not_by_processes(sources: Iterable[Any]) -> dict[str, str]:
    """Processes share no open file: where they are set, threads compute."""
    from dask.base import get_scheduler

    chosen = get_scheduler(collections=list(sources))
    by_process = "multiprocessing" in getattr(chosen, "__module__", "")
    return {"scheduler": "threads"} if by_process else {}


class _Gate:
    """A target that takes no more blocks once it is shut.

    Where one block fails Dask's threads go on with theirs, and the netCDF library would make the
    file anew that was removed meanwhile.
    """

    def __init__(self, target: Any) -> None:
        self.target, self.lock, self.open = target, threading.Lock(), True

    def __setitem__(self, region: Any, block: Any) -> None:
        with self.lock:
            if self.open:
                self.target[region] = block

    def shut(self) -> None:
        """Wait for the block that is being written."""
        with self.lock:
            self.open = False


def fill_plainly(pairs: Sequence[tuple[Any, Any]]) -> None:
    """Compute arrays and assign their blocks to targets of xarray, which encode and write them.

    On a cluster one block per worker thread is fetched at a time, and written by this process.
    """
    import dask
    import dask.array as da

    if not pairs:
        return
    sources, targets = zip(*pairs, strict=True)
    client = cluster_client(sources)
    if client is None:
        gates = [_Gate(target) for target in targets]
        try:
            da.store(list(sources), gates, lock=False, **_not_by_processes(sources))
        finally:
            for gate in gates:
                gate.shut()
        return
    threads = max(1, sum(client.nthreads().values()))
    for source, target in pairs:
        regions = da.core.slices_from_chunks(source.chunks)
        blocks = source.to_delayed().ravel()
        for i in range(0, len(regions), threads):
            values = dask.compute(*blocks[i : i + threads])
            for region, block in zip(regions[i : i + threads], values, strict=True):
                target[region] = block


def _packed(block: Any, starts: Any, plan: Plan, block_id: tuple[int, ...], job: int) -> np.ndarray:
    start = tuple(of[i] for of, i in zip(starts, block_id, strict=True))
    chunks = list(encode_block(block, start, plan))
    out = np.empty((1,) * len(start), object)
    out.flat[0] = Packet(
        job,
        np.array([chunk.origin for chunk in chunks], np.int64),
        np.array([len(chunk.data) for chunk in chunks], np.int64),
        np.concatenate(
            [np.empty(0, np.uint8), *(np.frombuffer(chunk.data, np.uint8) for chunk in chunks)]
        ),
        block.size * plan.dtype.itemsize,
    )
    return out


def _on_cluster(jobs: Sequence[Job], sink: ChunkFile, done: Count, client: Any) -> None:
    graph, keys = graph_of(
        [each_block(job, functools.partial(_packed, job=i), object) for i, job in enumerate(jobs)]
    )
    direct = _reachable(client)
    with closing(finished(client, graph, keys)) as batches:
        for ready in batches:
            for values in client.gather(ready, direct=direct):
                for packet in values.flat:
                    for chunk in packet.chunks():
                        sink.put(jobs[packet.job].plan, chunk)
                    done.add(packet.nbytes)


def _reachable(client: Any) -> bool | None:
    """True where some workers can be spoken to from here: then not all bytes pass the scheduler.

    None leaves it to the client's own setting.
    """
    from distributed.comm import get_address_host_port

    for address in list(client.nthreads())[:PROBED]:
        try:
            host, port = get_address_host_port(address)
            socket.create_connection((host, port), PATIENCE).close()
        except (OSError, ValueError):
            return None
    return True
