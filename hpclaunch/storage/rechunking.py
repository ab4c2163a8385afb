"""A file written anew with other chunks, in bounded memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpclaunch.errors import ChangedFile, StorageError
from hpclaunch.storage import cores
from hpclaunch.storage.chunking import Access, access_as
from hpclaunch.storage.encode import Plan, encode_block
from hpclaunch.storage.raw import Large, Shell, make_file, open_raw
from hpclaunch.storage.remote import refuse_urls
from hpclaunch.storage.skeleton import expected_size
from hpclaunch.storage.slabs import Passes, Region, passes, regions
from hpclaunch.storage.spill import Spill
from hpclaunch.storage.striped import Striping, stripe_part
from hpclaunch.storage.striping import Wanted, checked_stripes
from hpclaunch.storage.target import ChunkFile, checked_target, part_file

__all__ = ["Rechunked", "Turned", "rechunk"]

MEMORY = 2 * 2**30
"""Bytes that are used where nothing else was asked for."""

REQUEST = 8 * 2**20
"""Bytes that are read at once at most."""

HELD = 4
"""A slab is this part of the memory: one is encoded and one read, with what both need besides."""


@dataclass(frozen=True)
class Turned:
    """What became of one variable.

    Attributes
    ----------
    path : str
    before, after : tuple of int or None
        Chunks in the source (None: contiguous) and in the target.
    reads : float
        How many times the source was read, on average.
    spilled : int
        Bytes that went through a file between.
    """

    path: str
    before: tuple[int, ...] | None
    after: tuple[int, ...]
    reads: float
    spilled: int


@dataclass(frozen=True)
class Rechunked:
    """What was written.

    Attributes
    ----------
    path : Path
    variables : tuple of Turned
        Those that were written anew; all others were copied.
    chunks, nbytes, stored : int
        Their chunks, counted in the file, bytes decoded and bytes in the file.
    striping : Striping
        What was done about the file's stripes, and why.
    """

    path: Path
    variables: tuple[Turned, ...]
    chunks: int
    nbytes: int
    stored: int
    striping: Striping


def rechunk(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    access: Access | None = None,
    chunks: Mapping[str, int] | None = None,
    level: int | None = None,
    memory: int = MEMORY,
    workers: int | None = None,
    overwrite: bool = False,
    stripes: Wanted = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Rechunked:
    """Write a NetCDF file anew with other chunks.

    Stored values, attributes, dimensions and groups stay as they are: nothing is decoded and
    encoded by CF. Variables of 1 MiB and more whose values are plain numbers get the new chunks,
    with deflate and shuffle; all others are copied, each read
    whole. At most `memory` bytes of values are held.
    Where the chunks of source and target lie turned to each other the values go through a nameless
    file in the target's directory, as large as the variable is when decoded. Dimensions that no
    variable has are left out.

    Parameters
    ----------
    source : str or path
        NetCDF-4 or NetCDF-3.
    target : str or path
        NetCDF-4. It appears under its name when it is whole and on the disk.
    access : {"map", "series", "all"}, optional
        What will be read most; by default ``all``.
    chunks : mapping, optional
        Elements of a chunk by dimension; -1 is all. Other dimensions keep the chunks of the
        source, also in variables that have none of these, or follow `access` where it is given.
        A contiguous variable has no chunks to keep: it gets those of ``all``.
    level : int, optional
        Of deflate; 0: none. By default that of the source's variable, or 4 where it has none.
    memory : int
        Bytes.
    workers : int, optional
        Threads that encode; by default as many as there are cores.
    overwrite : bool
        Whether an existing target is replaced.
    stripes : "auto", None or (int, int)
        As in `to_netcdf`.
    progress : callable, optional
        Is called with the bytes (decoded) done and those of all; each pass counts.

    Returns
    -------
    Rechunked

    Raises
    ------
    StorageError
        If the target exists or is the source, a dimension of `chunks` is in no variable, a chunk
        or a variable that is copied whole does not fit into `memory`, groups use an unlimited
        dimension of an enclosing one that has no small variable along it, or the disk is full.
    ChangedFile
        If the source changed meanwhile.
    FileNotFoundError, PermissionError
        If the source is missing or not readable, or the target's directory.
    """
    if access is not None:
        access = access_as(access)
    stripes = checked_stripes(stripes)
    path = checked_target(target, overwrite)
    refuse_urls(
        [os.fspath(source)],
        ": only local files are written anew",
        "copy it to a file system first",
    )
    origin = Path(os.fspath(source)).expanduser()
    if origin.resolve() == path:
        raise StorageError(f"{path} is the source itself", hint="write to another name")
    before = _state(origin)
    with (
        open_raw(origin, min(REQUEST, memory // 16), memory) as raw,
        part_file(path, overwrite) as part,
    ):
        shells = raw.shells(access, dict(chunks or {}), level)
        striping = stripe_part(part, stripes, *_expected(shells, before[0], level))
        plans = _plans(part, make_file(part, shells))
        ways = [_way(origin, large, plan, memory // HELD) for large, plan in plans]
        turned = _Turning(part, path.parent, workers or cores.cores(), progress)
        try:
            done = turned.all(plans, ways)
        finally:
            turned.close()
        if _state(origin) != before:
            raise ChangedFile(f"{origin} changed while it was read")
    nbytes = sum(map(_nbytes, plans))
    return Rechunked(path, done, turned.sink.chunks, nbytes, turned.sink.stored, striping)


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _nbytes(one: tuple[Large, Plan]) -> int:
    return math.prod(one[1].shape) * one[1].dtype.itemsize


def _expected(shells: Sequence[Shell], source: int, level: int | None) -> tuple[int, int]:
    """Bytes of the new file and of its largest chunk: what is deflated is like the source."""
    found = [expected_size(one.dataset, {}) for one in shells]
    decoded = sum(size for size, _ in found)
    return decoded if level == 0 else min(decoded, source), max(chunk for _, chunk in found)


def _plans(part: Path, large: Sequence[Large]) -> list[tuple[Large, Plan]]:
    """How the large variables are to be made."""
    sink = ChunkFile(part)
    try:
        plans = []
        for one in large:
            plan = sink.plan(one.path, one.shape) or "it is not in the file"
            if isinstance(plan, str):
                raise StorageError(f"{one.path} cannot be written with other chunks: {plan}")
            plans.append((one, plan))
        return plans
    finally:
        sink.close()


def _way(origin: Path, large: Large, plan: Plan, budget: int) -> Passes:
    try:
        return passes(plan.shape, plan.dtype.itemsize, large.chunks, plan.chunks, budget)
    except ValueError:
        raise StorageError(
            f"{origin}, variable {large.path}: a chunk of {large.chunks} or of {plan.chunks} does "
            f"not fit into {budget / 2**20:.3g} MiB, a quarter of the memory",
            hint="give more memory, or smaller chunks",
        ) from None


class _Turning:
    """One run: the file that is filled, threads, and how far it is."""

    def __init__(
        self,
        part: Path,
        folder: Path,
        workers: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.sink = ChunkFile(part)
        self._folder, self._progress = folder, progress
        self._reading = ThreadPoolExecutor(1, "rechunk-read")
        self._encoding = ThreadPoolExecutor(workers, "rechunk-encode")
        self._done = self._total = 0

    def close(self) -> None:
        self._reading.shutdown(cancel_futures=True)
        self._encoding.shutdown(cancel_futures=True)
        self.sink.abandon()

    def all(self, plans: list[tuple[Large, Plan]], ways: list[Passes]) -> tuple[Turned, ...]:
        """Turn every variable, check the number of its chunks, and close the file."""
        self._total = sum(
            _nbytes(one) * (1 if way.source is None else 2)
            for one, way in zip(plans, ways, strict=True)
        )
        turned = []
        for (large, plan), way in zip(plans, ways, strict=True):
            spilled = self._one(large, plan, way)
            self.sink.check(plan)
            turned.append(Turned(large.path, large.chunks, plan.chunks, way.reads, spilled))
        self.sink.extend({path: n for large, _ in plans for path, n in large.unlimited.items()})
        self.sink.close()
        return tuple(turned)

    def _one(self, large: Large, plan: Plan, way: Passes) -> int:
        wanted = list(regions(plan.shape, way.target))
        if way.source is None:
            for region, values in self._ahead(wanted, large.read):
                self._write(plan, region, values)
            return 0
        filled = list(regions(plan.shape, way.source))
        with Spill(self._folder, plan.dtype, filled, wanted) as spill:
            for index, (_, values) in enumerate(self._ahead(filled, large.read)):
                spill.put(index, values)
                self._count(values.nbytes)
            for index, values in self._ahead(range(len(wanted)), spill.get):
                self._write(plan, wanted[index], values)
            return spill.nbytes

    def _ahead(self, keys: Any, read: Callable[[Any], np.ndarray]) -> Iterator[tuple[Any, Any]]:
        """Values of each key, the next being read while one is used."""
        waiting: tuple[Any, Future[np.ndarray]] | None = None
        for key in keys:
            coming = (key, self._reading.submit(read, key))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = coming
        if waiting is not None:
            yield waiting[0], waiting[1].result()

    def _write(self, plan: Plan, region: Region, values: np.ndarray) -> None:
        """Encode and write the chunks of a slab, in parallel."""
        steps = regions(values.shape, plan.chunks)

        def one(place: Region) -> int:
            piece = values[place]
            start = tuple(r.start + p.start for r, p in zip(region, place, strict=True))
            for chunk in encode_block(piece, start, plan):
                self.sink.put(plan, chunk)
            return piece.nbytes

        for nbytes in self._encoding.map(one, steps):
            self._count(nbytes)

    def _count(self, nbytes: int) -> None:
        self._done += nbytes
        if self._progress is not None:
            self._progress(self._done, self._total)
