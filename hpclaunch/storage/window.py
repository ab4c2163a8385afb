"""Blocks computed on a cluster, a window of them at a time.

More blocks than the window has are never under way. The exception are blocks that share most of
their work (see `_batches`): the scheduler gets all of them at once, and the workers hold what Dask
lets them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

__all__ = ["BATCHES", "finished", "graph_of"]

BATCHES = 3
"""Batches of blocks that are under way on a cluster; each has one block for every thread."""


def finished(
    client: Any, graph: dict[Any, Any], keys: list[Any], least: int = 1
) -> Generator[list[Any]]:
    """Compute blocks on a cluster, a window at a time.

    Parameters
    ----------
    client : distributed.Client
    graph, keys : dict, list
        As `graph_of` gives them.
    least : int
        So many futures at a time, where so many are left.

    Yields
    ------
    list of distributed.Future
        Those that are done. They are released when the next ones are asked for.
    """
    from distributed import as_completed

    threads = max(1, sum(client.nthreads().values()))
    batches = _batches(graph, keys, threads)
    running = as_completed(loop=client.loop)
    waiting = 0
    futures: set[Any] = set()
    try:
        while True:
            while waiting <= (BATCHES - 1) * threads and (batch := next(batches, None)):
                part, wanted = batch
                sent = client.get(part, wanted, sync=False)
                futures.update(sent)
                running.update(sent)
                waiting += len(sent)
            if not waiting:
                break
            ready = list(running.next_batch(block=True))
            while len(ready) < min(least, waiting):
                ready += running.next_batch(block=True)
            yield ready
            for future in ready:
                futures.discard(future)
                future.release()
            waiting -= len(ready)
    finally:
        client.cancel(list(futures))


def graph_of(arrays: Sequence[Any]) -> tuple[dict[Any, Any], list[Any]]:
    """One optimized graph of all blocks of arrays, and their keys in order."""
    import dask
    from dask.core import flatten

    arrays = list(dask.optimize(*arrays))
    graph: dict[Any, Any] = {}
    for array in arrays:
        graph.update(array.__dask_graph__())
    return graph, [key for array in arrays for key in flatten(array.__dask_keys__())]


def _batches(
    graph: dict[Any, Any], keys: list[Any], size: int
) -> Iterator[tuple[dict[Any, Any], list[Any]]]:
    """Graphs of `size` blocks each; one graph of all where the blocks share most of their work.

    What two batches share is computed twice. Where that would make more than half as many tasks
    again the scheduler gets the whole graph, and Dask's own limits bound the memory.
    """
    from dask.optimization import cull

    parts = [keys[i : i + size] for i in range(0, len(keys), size)]
    sample = list(islice(parts, 0, None, max(1, len(parts) // 3)))
    tasks = sum(len(cull(graph, part)[0]) for part in sample) / len(sample) * len(parts)
    if tasks > 1.5 * len(graph):
        yield graph, keys
        return
    for part in parts:
        yield cull(graph, part)[0], part
