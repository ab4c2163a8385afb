"""One task, all its engines in turn; their results are held against netCDF4's."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.storage import limit
from benchmarks.storage.measure import Measured, Watch, interleave
from benchmarks.storage.peers import OURS, PEERS, TUNED, Peer
from benchmarks.storage.recipe import VARIABLE, Archive
from benchmarks.storage.tasks import DECODED, LIMIT, Task

__all__ = ["WrongValues", "run_task"]

CLOSE = {"rtol": 2e-5, "equal_nan": True}
"""How far reductions may differ: float32 sums depend on the blocks that are summed."""
REDUCTIONS = ("mean", "climatology")


class WrongValues(Exception):
    """hpclaunch read something else than netCDF4."""


def run_task(task: Task, archive: Archive, rounds: int, without: dict[str, str]) -> Measured:
    """Measure one task.

    Raises
    ------
    WrongValues
        If hpclaunch's result is not that of netCDF4. Of another engine it is said, and the engine
        left out.
    """
    archive = archive.first(task.files)
    warm(archive)
    ways: dict[str, Callable[[Watch], Any]] = {}
    for name in task.peers:
        if name in without:
            continue
        if name in PEERS:
            peer = PEERS[name]
            peer.prepare(archive)
            if wrong := differs(peer, archive):
                refuse(name, task, wrong)
                continue
            ways[name] = way_of(task, archive, peer)
        else:
            stored = limit.load(archive)
            ways[LIMIT] = partial(timed, work=limit.decode, argument=stored)
            if name == DECODED:
                ways[DECODED] = decoded(task, archive)
    found = interleave(ways, rounds)
    compare(task, found)
    if DECODED in ways:
        for one in (*found.walls, *found.processors):
            one[DECODED] += one[LIMIT]
    return found


def warm(archive: Archive) -> None:
    """Have the files in the page cache."""
    for path in archive.paths:
        with Path(path).open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def timed(watch: Watch, work: Callable[[Any], Any], argument: Any) -> Any:
    """What `work` gives, on time."""
    with watch.running():
        return work(argument)


def way_of(task: Task, archive: Archive, peer: Peer) -> Callable[[Watch], Any]:
    """Opens anew for every repeat, and forgets afterwards."""

    def way(watch: Watch) -> Any:
        result = None
        for _ in range(task.repeat):
            if task.work is None:
                with watch.running():
                    dataset = peer.open(archive, task.chunks)
            else:
                dataset = peer.open(archive, task.chunks)
                result = timed(watch, task.work, dataset)
            dataset.close()
            del dataset
            peer.forget()
            gc.collect()  # hidefix closes files by netCDF4, without its lock
        return result

    return way


def decoded(task: Task, archive: Archive) -> Callable[[Watch], Any]:
    """The same work on arrays in memory, in blocks as ours reads them."""
    found = PEERS[OURS].open(archive, None)[[VARIABLE]]
    blocks = dict(found.chunksizes)  # they are gone when the values are there
    dataset = found.load().chunk(blocks)

    def way(watch: Watch) -> Any:
        assert task.work is not None
        return timed(watch, task.work, dataset)

    return way


def differs(peer: Peer, archive: Archive) -> str:
    """What this engine reads wrongly of some maps, a series and the coordinates; "" if nothing."""
    if peer.name == TUNED:
        return ""
    expected = PEERS[TUNED].open(archive, None)
    found = peer.open(archive, None)
    try:
        if dict(found.sizes) != dict(expected.sizes):
            return f"sizes {dict(found.sizes)} instead of {dict(expected.sizes)}"
        for name in expected.coords:
            if not np.array_equal(found[name].values, expected[name].values):
                return f"coordinate {name}"
        last = expected.sizes["time"] - 1
        for where in ({"time": [0, last // 2, last]}, {"lat": 17, "lon": 333}):
            one, other = (dataset[VARIABLE].isel(where).values for dataset in (found, expected))
            if one.dtype != other.dtype or not np.array_equal(one, other, equal_nan=True):
                return f"{VARIABLE} at {where}"
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        found.close()
        expected.close()
        peer.forget()


def compare(task: Task, found: Measured) -> None:
    """Hold every engine's result against netCDF4's."""
    expected = found.results.get(TUNED)
    if expected is None:
        return
    for name, result in found.results.items():
        if result is None:
            continue
        reduced = task.name.split()[0] in REDUCTIONS
        same = (
            np.allclose(result, expected, **CLOSE)
            if reduced
            else np.array_equal(result, expected, equal_nan=True)
        )
        if not same:
            refuse(name, task, "its result")
            for one in (*found.walls, *found.processors):
                one.pop(name)


def refuse(name: str, task: Task, wrong: str) -> None:
    """Ours must not be wrong; another engine is left out."""
    if name == OURS:
        raise WrongValues(f"{task.name}: {wrong} is not what netCDF4 reads")
    print(f"  {name} is left out of '{task.name}': {wrong} is not netCDF4's", file=sys.stderr)
