"""Dask's blocks to a file by the workers themselves: collective MPI-IO with parallel HDF5.

The workers are ranks of one MPI job. They compute blocks as ever, and each keeps what it has made.
As soon as every rank may have a block, all of them write, in as many collective calls as the one
with the most blocks needs; the others take part without one. HDF5 deflates in each rank the chunks
of that rank. Nothing but keys passes through the process that called.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage import mpiranks
from hpclaunch.storage.encode import Plan, as_stored
from hpclaunch.storage.mpiranks import Facts, OtherRank, Piece
from hpclaunch.storage.run import Count, Job, Progress, each_block
from hpclaunch.storage.window import finished, graph_of

__all__ = ["Crew", "StuckRanks", "crew_of"]

LARGEST = 128 * 2**20
"""Bytes that a rank writes in one call at most, or one chunk: HDF5 holds them encoded as well."""

OLDEST = (1, 10, 5)
"""Of HDF5: older ones write no filtered chunks in parallel, or run out of communicators."""

PATIENCE = 60.0
"""Seconds that are given to the other ranks once one has failed."""

_CLUSTER = (
    "run the program by `hpclaunch batch`, or in a session of `hpclaunch start --dask mpi`; "
    "collective=False writes from any cluster"
)
_LIBRARY = (
    "build it with the job's own MPI and a parallel HDF5: "
    "HDF5_MPI=ON CC=mpicc pip install --no-binary=h5py h5py"
)


_Calls = dict[str, list[tuple[str, Piece | None]]]
"""What each worker, by its address, has to write in each collective call; see `mpiranks.write`."""


@dataclass(frozen=True)
class _Place:
    """Where a block belongs: which array, its first element, its shape."""

    job: int
    origin: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Crew:
    """The workers of a cluster that are ranks of one MPI job.

    Attributes
    ----------
    client : distributed.Client
    ranks : dict
        The rank in MPI's world of each worker, by its address.
    """

    client: Any
    ranks: dict[str, int]

    def fill(self, part: Path, jobs: Sequence[Job], progress: Progress | None) -> None:
        """Compute all blocks and write them.

        Raises
        ------
        StorageError
            If a block is gone before it was written, or not all were written.
        Exception
            What a task or a rank has raised.
        """
        from distributed import Lock

        if not jobs:
            return
        word = secrets.token_hex(8)
        count = Count(sum(job.source.nbytes for job in jobs), progress)
        paths = [job.plan.path for job in jobs]
        # HDF5 lets in one thread of a process: two files would have ranks wait crosswise.
        scheduler = {"scheduler_rpc": self.client.scheduler, "loop": self.client.loop}
        with Lock("hpclaunch-collective-write", **scheduler):
            try:
                self._all(mpiranks.join, word, str(part), sorted(self.ranks.values()), paths)
                self._write(word, jobs, count)
            except StuckRanks:
                raise
            except BaseException:
                with suppress(Exception):
                    self._all(mpiranks.leave, word, False)
                raise
            self._all(mpiranks.leave, word, True)
        self._all(mpiranks.verify, word)
        if count.done != count.total:
            raise StorageError(
                f"{count.done:,} of {count.total:,} bytes were written",
                hint="this is a fault of hpclaunch: please report it",
            )

    def _write(self, word: str, jobs: Sequence[Job], count: Count) -> None:
        arrays = [each_block(job, _kept, job.plan.dtype) for job in jobs]
        graph, keys = graph_of(arrays)
        places = dict(zip(keys, _places(jobs), strict=True))
        with closing(finished(self.client, graph, keys, least=len(self.ranks))) as batches:
            for futures in batches:
                for future in futures:
                    if future.status != "finished":
                        future.result()
                self._all(mpiranks.write, word, each=self._calls(jobs, futures, places))
                for future in futures:
                    place = places[future.key]
                    count.add(math.prod(place.shape) * jobs[place.job].plan.dtype.itemsize)

    def _calls(
        self, jobs: Sequence[Job], futures: Iterable[Any], places: Mapping[Any, _Place]
    ) -> _Calls:
        """The collective calls that write these blocks, as each worker takes part in them."""
        lying: dict[Any, Sequence[str]] = self.client.who_has(list(futures))
        queues: dict[int, dict[str, list[Piece]]] = {}
        for future in futures:
            key = future.key
            owner = next((one for one in lying.get(key, ()) if one in self.ranks), None)
            if owner is None:
                raise StorageError(f"block {key} is on no worker any more", hint=_CLUSTER)
            place = places[key]
            queue = queues.setdefault(place.job, {}).setdefault(owner, [])
            queue.extend(_pieces(key, place, jobs[place.job].plan))
        calls: _Calls = {one: [] for one in self.ranks}
        for job, by_owner in sorted(queues.items()):
            for i in range(max(map(len, by_owner.values()))):
                for owner, mine in calls.items():
                    queue = by_owner.get(owner, [])
                    mine.append((jobs[job].plan.path, queue[i] if i < len(queue) else None))
        return calls

    def _all(self, function: Callable[..., Any], *same: Any, each: _Calls | None = None) -> None:
        """Run something on all ranks at the same time; raises what the first in trouble says.

        `each` has a last argument for every worker, by its address.
        """
        more = {one: [each[one]] if each else [] for one in self.ranks}
        self.client.sync(self._told, function, same, more)

    async def _told(
        self, function: Callable[..., Any], same: Sequence[Any], more: Mapping[str, Sequence[Any]]
    ) -> None:
        waiting = {
            asyncio.ensure_future(self.client.run(function, *same, *more[one], workers=[one]))
            for one in self.ranks
        }
        errors: list[BaseException] = []
        while waiting:
            patience = PATIENCE if errors else None
            done, waiting = await asyncio.wait(
                waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            errors += [error for one in done if (error := one.exception()) is not None]
            if not done:
                break
        errors.sort(key=lambda one: isinstance(one, OtherRank))
        if waiting:
            raise StuckRanks(
                f"a rank failed while {len(waiting)} others wait for it in MPI: {errors[0]}",
                hint="these ranks hang until the job ends: mpi4py.MPI.COMM_WORLD.Abort() ends it",
            ) from errors[0]
        if errors:
            raise errors[0]


class StuckRanks(StorageError):
    """A rank failed where it could not tell the others, and they do not come back."""


def crew_of(client: Any, part: Path) -> Crew:
    """The workers of a cluster, if they can write a file together.

    Parameters
    ----------
    client : distributed.Client or None
    part : Path
        The file, empty.

    Raises
    ------
    StorageError
        If they cannot; it says what is missing.
    """
    told: dict[str, Facts] = {} if client is None else client.run(mpiranks.facts, str(part))
    if not told:
        raise StorageError(
            "collective writing needs a Dask cluster whose workers are ranks of an MPI job, and "
            "there is no such one",
            hint=_CLUSTER,
        )
    for address, one in told.items():
        _refuse(address, one, part)
    ranks = {address: one.rank for address, one in told.items()}
    if len({one.size for one in told.values()}) > 1 or len(set(ranks.values())) < len(ranks):
        raise StorageError("the workers are ranks of several MPI jobs", hint=_CLUSTER)
    return Crew(client, ranks)


def _refuse(address: str, one: Facts, part: Path) -> None:
    if one.rank < 0:
        raise StorageError(f"worker {address} is no rank of an MPI job", hint=_CLUSTER)
    if not one.parallel:
        raise StorageError(f"h5py of worker {address} was built without MPI", hint=_LIBRARY)
    if one.hdf5 < OLDEST:
        found, oldest = (".".join(map(str, version)) for version in (one.hdf5, OLDEST))
        raise StorageError(f"worker {address} has HDF5 {found}, older than {oldest}", hint=_LIBRARY)
    if not one.threads:
        raise StorageError(
            f"MPI of worker {address} may not be called by several threads",
            hint="MPI_THREAD_MULTIPLE is needed: mpi4py.rc.thread_level is 'multiple' by default",
        )
    if not one.writable:
        raise StorageError(
            f"worker {address} cannot write to {part.parent}",
            hint="the directory has to be the same on all nodes",
        )


def _kept(block: Any, starts: Any, plan: Plan, block_id: tuple[int, ...]) -> np.ndarray:
    """A block as it is stored, in C order; it stays on the worker that has made it."""
    return np.ascontiguousarray(as_stored(block, plan))


def _places(jobs: Sequence[Job]) -> Iterator[_Place]:
    """Where the blocks belong, in the order of their keys."""
    for i, job in enumerate(jobs):
        lengths = job.source.chunks
        starts = [tuple(itertools.accumulate(one[:-1], initial=0)) for one in lengths]
        for origin, shape in zip(
            itertools.product(*starts), itertools.product(*lengths), strict=True
        ):
            yield _Place(i, origin, shape)


def _pieces(key: Any, place: _Place, plan: Plan) -> Iterator[Piece]:
    """A block in pieces of whole chunks, of at most `LARGEST` bytes unless one chunk is larger."""
    lengths = list(place.shape)
    for axis, chunk in enumerate(plan.chunks):
        row = math.prod(lengths) // lengths[axis] * plan.dtype.itemsize
        lengths[axis] = min(lengths[axis], max(1, LARGEST // (row * chunk)) * chunk)
    steps = [range(0, n, length) for n, length in zip(place.shape, lengths, strict=True)]
    for corner in itertools.product(*steps):
        inside = tuple(
            slice(i, min(i + length, n))
            for i, length, n in zip(corner, lengths, place.shape, strict=True)
        )
        yield Piece(key, inside, tuple(a + b for a, b in zip(place.origin, corner, strict=True)))
