"""The advised way of reading against others, in turns, on a sample of the very files."""

from __future__ import annotations

import gc
import math
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from hpclaunch.storage.chunkcache import cache
from hpclaunch.storage.sample import ADVISED, PIECES, TUNED, USUAL, Sample, Subject
from hpclaunch.storage.sampling import points_of, region_of, stored_ranges

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

__all__ = ["in_turns", "measure", "warm"]

BYTES = 256 * 10**6
"""Decoded bytes of a sample, at most."""

PROBE = 4 * 10**6
"""Of the first, short look at how long everything takes."""

ROUNDS = 7
"""At most."""

_WANTED, _FEWEST = 5, 2
_LOOKS = 64


def measure(subject: Subject, *, seconds: float, limit: int = BYTES) -> Sample | str:
    """Read a sample in each way, in turns, as often as the time allows.

    Nothing is written. Every trial begins without decoded chunks in memory, and with a warm page
    cache: what is measured was read once before.

    Parameters
    ----------
    subject : Subject
    seconds : float
        After which no further trial begins; the first look, which imports what is needed, is not
        counted.
    limit : int
        Bytes of the sample, decoded.

    Returns
    -------
    Sample or str
        A string says why nothing was measured.
    """
    began = time.perf_counter()
    smallest = math.prod(subject.block) * subject.variable.layout.dtype.itemsize
    probe = _chosen(subject, min(limit, max(PROBE, smallest)))
    if probe is None:
        return f"one block of {smallest / 2**20:.0f} MiB is more than the sample may have"
    cached = warm(probe[0], stored_ranges(subject.variable.layout, probe[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _turns(subject, probe, [ADVISED, TUNED], deadline=math.inf, rounds=1)
        start = time.perf_counter()
        end = start + seconds
        first = _turns(subject, probe, None, deadline=start + seconds / 3, rounds=1)
        left = end - time.perf_counter()
        if not first[ADVISED]:
            return f"{seconds:g} s were not enough"
        quick = _quick(first, left)
        slow = sum(one[0] for name, one in first.items() if one and name not in quick)
        turn = max(end - left - start - slow, 1e-4)
        more = int(max(PROBE, smallest) * max(1.0, left / (_WANTED * turn)))
        sample = _chosen(subject, min(limit, more)) or probe
        if sample != probe:
            _turns(subject, sample, [ADVISED], deadline=end, rounds=1)
        times = _turns(subject, sample, quick, deadline=end, rounds=ROUNDS)
    paths, region = sample
    stored = sum(size for _, size in stored_ranges(subject.variable.layout, region))
    return Sample(
        variable=subject.variable.name,
        paths=paths,
        region=region,
        decoded=len(paths) * math.prod(region) * subject.variable.layout.dtype.itemsize,
        stored=len(paths) * stored,
        threads=subject.threads,
        warm=cached,
        rounds=len(times[ADVISED]),
        seconds=time.perf_counter() - began,
        times={name: tuple(one) for name, one in times.items()},
        first={name: one[0] for name, one in first.items() if one},
    )


def _chosen(subject: Subject, limit: int) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """The files, and what of each of them."""
    layout = subject.variable.layout
    region = region_of(layout.shape, subject.block, layout.dtype.itemsize, limit, subject.pattern)
    if region is None:
        return None
    each = math.prod(region) * layout.dtype.itemsize
    whole = region == tuple(layout.shape) and subject.pattern != "map"
    return subject.paths[: max(1, limit // each) if whole else 1], region


def _quick(first: Mapping[str, Sequence[float]], left: float) -> list[str]:
    """The ways that can be repeated in the time that is left; the slowest are let go first."""
    found = sorted((one[0], name) for name, one in first.items() if one and name != ADVISED)
    spent = first[ADVISED][0]
    quick = [ADVISED]
    for needs, name in found:
        if (spent := spent + needs) * _FEWEST > left:
            break
        quick.append(name)
    return quick


def _turns(
    subject: Subject,
    sample: tuple[Sequence[str], Sequence[int]],
    names: Sequence[str] | None,
    *,
    deadline: float,
    rounds: int,
) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    region = sample[1]
    chunks = tuple(subject.variable.layout.chunks or region)
    ways: dict[str, tuple[str, Sequence[int]]] = {
        ADVISED: ("hpclaunch", subject.block),
        TUNED: ("netcdf4", region),
        USUAL: ("netcdf4", chunks),
    }
    if chunks != subject.block:
        ways[PIECES] = ("hpclaunch", chunks)

    def trial(name: str, turn: int) -> float:
        points = points_of(subject.variable.dims, region, subject.pattern, turn)
        return _trial(subject, sample, ways[name], points)

    return in_turns(dict.fromkeys(names or ways, trial), deadline=deadline, rounds=rounds)


def in_turns(
    ways: Mapping[str, Callable[[str, int], float]], *, deadline: float, rounds: int
) -> dict[str, list[float]]:
    """Run every way once in each round, every other round backwards; the seconds they return.

    No trial begins after the deadline. Of a round that was not finished nothing is kept, but for
    the first one.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        gc.collect()
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            if time.perf_counter() > deadline:
                break
            times[name].append(ways[name](name, turn))
    fewest = max(1, min(map(len, times.values())))
    return {name: one[:fewest] for name, one in times.items()}


def _trial(
    subject: Subject,
    sample: tuple[Sequence[str], Sequence[int]],
    way: tuple[Any, Sequence[int]],
    points: Sequence[Mapping[str, int]],
) -> float:
    """Seconds of reading in one way; files are opened anew, and no decoded chunk is left over."""
    import dask

    cache.clear()
    with ExitStack() as files:
        arrays = [
            files.enter_context(one)[subject.variable.name]
            for one in _opened(subject, *sample, *way)
        ]
        start = time.perf_counter()
        for point in points:
            wanted = [_touched(_at(array, point).data) for array in arrays]
            dask.compute(*wanted, scheduler="threads", num_workers=subject.threads)
        return time.perf_counter() - start


def _at(array: DataArray, point: Mapping[str, int]) -> DataArray:
    """One place; the last one where a file is shorter than the first."""
    return array.isel({dim: min(at, array.sizes[dim] - 1) for dim, at in point.items()})


def _opened(
    subject: Subject,
    paths: Sequence[str],
    region: Sequence[int],
    engine: Any,
    chunks: Sequence[int],
) -> Iterator[Dataset]:
    """The region of each file in Dask's blocks, as lazy as xarray has it."""
    import xarray

    dims, name = subject.variable.dims, subject.variable.name
    cut = {dim: slice(n) for dim, n in zip(dims, region, strict=True)}
    blocks = dict(zip(dims, chunks, strict=True))
    for path in paths:
        whole = xarray.open_dataset(
            path, engine=engine, group=subject.group, cache=False, decode_times=False
        )
        part = whole[[name]].isel(cut).reset_coords(drop=True)
        part = part.chunk(blocks, name_prefix="advise-", token=uuid.uuid4().hex)
        part.set_close(whole.close)
        yield part


def _touched(data: Any) -> Any:
    """One value for each block, so that blocks are let go as soon as they were read."""
    import numpy

    def touch(block: Any) -> Any:
        return numpy.ravel(block)[:1].reshape((1,) * block.ndim)

    if not data.ndim:
        return data
    ones = tuple((1,) * count for count in data.numblocks)
    return data.map_blocks(touch, dtype=data.dtype, chunks=ones, meta=data._meta)


def warm(paths: Sequence[str], ranges: Sequence[tuple[int, int]]) -> float | None:
    """The share of pages that are in the page cache, by some that are asked for without waiting.

    Source: preadv2(2), RWF_NOWAIT. None where the file system does not support it.
    """
    flag = getattr(os, "RWF_NOWAIT", None)
    places = [offset for offset, _ in ranges[:: max(1, len(ranges) // _LOOKS)]]
    if flag is None or not places:
        return None
    there = 0
    handle = os.open(paths[0], os.O_RDONLY)
    try:
        for place in places:
            try:
                there += os.preadv(handle, [bytearray(1)], place, flag)
            except BlockingIOError:
                continue
    except OSError:
        return None
    finally:
        os.close(handle)
    return there / len(places)
