"""A directory's storage measured in minutes, from this node or from all workers of a cluster."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.errors import StorageError
from hpclaunch.storage import bench_workers
from hpclaunch.storage.bench_crew import Crew, muster
from hpclaunch.storage.bench_facts import machine, whereabouts
from hpclaunch.storage.bench_files import LARGE, file_cases, many_cases, write_large, write_speed
from hpclaunch.storage.bench_netcdf import make_field, read_cases, readers, stores
from hpclaunch.storage.bench_result import Benchmark
from hpclaunch.storage.bench_room import LEAST, is_full, largest_size, private
from hpclaunch.storage.bench_rounds import ROUNDS, Case, Clock, Findings, measure
from hpclaunch.storage.bench_writing import write_cases

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SECONDS", "bench"]

SECONDS = 120.0
_FILES = 1000
_TRIAL = 16 * 2**20
_FIRST = 40
"""The first file takes a fortieth of the time."""
_FIELD, _FIELD_EACH = 128 * 2**20, 0.6 * 2**20
"""Bytes of the field at most, and for each second of the whole time."""
_CACHED = ("gpfs", "wekafs", "daos", "beegfs")
"""Clients that may keep files outside of the page cache."""

Progress = Callable[[str], None]


def bench(
    directory: str | os.PathLike[str],
    *,
    seconds: float = SECONDS,
    size: int | None = None,
    files: int = _FILES,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
    client: Client | None = None,
) -> Benchmark:
    """Measure the storage that a directory lies on.

    All is written into a directory of its own inside of it, which is removed in the end, also
    after Ctrl-C or SIGTERM. At most 2 % of the free space is used (10 % where `size` says so).

    Parameters
    ----------
    directory : str or path
        One that may be written to.
    seconds : float
        About so long it takes. A single step that the file system does not answer is not cut off.
    size : int, optional
        Bytes of the largest file; by default as much as is written in a fortieth of the time, at
        most 1 GiB.
    files : int
        Small files that are made.
    rounds : int
        So often each thing is measured at most.
    progress : callable, optional
        Is told what is measured next.
    client : distributed.Client, optional
        Measure from all workers of its cluster at once, and from one of them alone, instead of
        from this process: large files, small ones (`files` each) and a field in NetCDF.

    Returns
    -------
    Benchmark

    Raises
    ------
    StorageError
        If the directory is none, cannot be written to, has too little free space or gets full;
        or if the cluster has no workers, or one of them has neither hpclaunch nor the directory.

    Examples
    --------
    >>> result = bench("/scratch/me", seconds=60)  # doctest: +SKIP
    >>> result.rate("sequential/8 MiB")  # doctest: +SKIP
    2164.3
    """
    if not seconds > 0:
        raise StorageError(f"{seconds} seconds are too few", hint="for example 60")
    path = Path(directory)
    if not path.is_dir():
        raise StorageError(f"{path} is no directory", hint="name one that you may write to")
    began, clock = time.monotonic(), Clock(seconds)
    facts: dict[str, Any] = {"machine": machine(), "place": whereabouts(path)}
    findings = Findings()
    with _told(path), private(path) as own, _index_in(own / "index"):
        crew = None if client is None else muster(client, own)
        many = 1 if crew is None else len(crew.addresses)
        most = largest_size(path, None if size is None else size * many, files * many)
        try:
            run = _Run(own, clock, findings, rounds, progress or (lambda _: None))
            if crew is None:
                facts["sizes"] = _measured(run, most, files, guess=size is None)
            else:
                facts["workers"] = {"count": many, "nodes": sorted(set(crew.nodes))}
                facts["sizes"] = _measured_by(crew, run, most // many, files, guess=size is None)
        finally:
            _let_go()
    facts["seconds"] = round(time.monotonic() - began, 1)
    notes = _notes(facts["place"]["kind"], findings, crew)
    return Benchmark(facts, tuple(findings.measures), findings.left_out, notes)


@dataclass(frozen=True)
class _Run:
    """A benchmark under way: its directory, its time and what it found."""

    own: Path
    clock: Clock
    findings: Findings
    rounds: int
    tell: Progress

    def measure(self, cases: list[Case], share: float) -> None:
        """Measure these in a share of the time that is left."""
        clock = self.clock.part(share)
        measure(cases, clock, self.findings, self.rounds, directory=self.own)


def _measured(run: _Run, most: int, files: int, *, guess: bool) -> dict[str, Any]:
    """Measure everything; returns the sizes."""
    large = _plain_files(run, most, guess)
    run.tell(f"small files: {files}")
    run.measure(many_cases(run.own, files), 0.2)

    run.tell("NetCDF and Zarr: writing a field")
    field = make_field(min(large, _FIELD, _power(int(run.clock.seconds * _FIELD_EACH))))
    found = stores(field, run.own)
    ways, left = readers()
    run.findings.left_out |= {f"all/{name}": why for name, why in left.items()}
    run.tell(f"NetCDF and Zarr: reading it by {', '.join(way.name for way in ways)}")
    run.measure(read_cases(field, found, ways), 0.7)

    run.tell("NetCDF and Zarr: ways to write")
    cases, left = write_cases(field, run.own)
    run.findings.left_out |= left
    run.measure(cases, 1)
    return {
        "large": large,
        "files": files,
        "field": int(field.t2m.nbytes),
        "shape": list(field.t2m.shape),
        "stored": {name: one.stored for name, one in found.items()},
    }


def _measured_by(crew: Crew, run: _Run, most: int, files: int, *, guess: bool) -> dict[str, Any]:
    """Measure from all workers at once; returns the sizes, of which the large one is each one's."""
    many = len(crew.addresses)
    run.tell(f"first files of {crew.title}")
    if guess:
        speed = bench_workers.write_speed(crew, run.own, min(_TRIAL, most))
        most = _power(min(most, int(speed * run.clock.left / _FIRST)))
    run.tell(f"large files: {most / 2**20:.0f} MiB by each of {crew.title}")
    run.measure(bench_workers.file_cases(crew, run.own, most), 0.5)
    run.tell(f"small files: {files} by each of {crew.title}")
    run.measure(bench_workers.many_cases(crew, run.own, files), 0.3)

    run.tell("NetCDF: writing a field")
    field = make_field(min(most * many, _FIELD, _power(int(run.clock.seconds * _FIELD_EACH))))
    store = stores(field, run.own)["deflated"]
    run.tell(f"NetCDF: reading it by {crew.title}")
    run.measure(bench_workers.field_cases(crew, store.path, field.sizes["time"]), 1)
    return {
        "large": most,
        "files": files,
        "field": int(field.t2m.nbytes),
        "shape": list(field.t2m.shape),
        "stored": {store.name: store.stored},
    }


def _power(size: int) -> int:
    """A power of two, so that another run chooses the same: the results can be compared."""
    return max(1 << (size.bit_length() - 1) if size else 0, LEAST)


def _plain_files(run: _Run, most: int, guess: bool) -> int:
    """Measure large files; returns their size, which is guessed from the speed of a first one."""
    run.tell("writing the first file")
    path = run.own / "large"
    speed = write_speed(path, min(_TRIAL, most))
    if guess:
        most = _power(min(most, int(speed * run.clock.left / _FIRST)))
    size = write_large(path, most, LARGE, run.clock.part(0.1))
    run.tell(f"large files: {size / 2**20:.0f} MiB, sequential and random")
    run.measure(file_cases(run.own, path), 0.35)
    path.unlink()
    return size


def _let_go() -> None:
    """Close what this process still holds open of the benchmark's files."""
    from hpclaunch.storage import sidecar, source
    from hpclaunch.storage.chunkcache import cache

    cache.clear()
    sidecar.forget()
    source.close_idle()


@contextlib.contextmanager
def _told(directory: Path) -> Iterator[None]:
    """Errors of the file system as ours; everything is removed already when they arrive here."""
    try:
        yield
    except (OSError, RuntimeError, StorageError) as error:
        if is_full(error, directory):
            raise StorageError(
                f"{directory} or your quota there became full; what was written is removed",
                hint="choose a smaller --size, or another directory",
            ) from error
        if isinstance(error, OSError):
            raise StorageError(
                f"{error.filename or directory}: {error.strerror or error}",
                hint="is that its name, and may you write there?",
            ) from error
        if isinstance(error, RuntimeError):
            raise StorageError(
                f"the NetCDF library cannot write in {directory}: {error}",
                hint="is it full, or does it refuse locks? HDF5_USE_FILE_LOCKING=FALSE helps then",
            ) from error
        raise


@contextlib.contextmanager
def _index_in(directory: Path) -> Iterator[None]:
    """Indices of the benchmark's files go where they are removed with them."""
    name = "HPCLAUNCH_INDEX_CACHE"
    before = os.environ.get(name)
    os.environ[name] = os.fspath(directory)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _notes(kind: str, findings: Findings, crew: Crew | None) -> tuple[str, ...]:
    notes = ["cold means: not in this node's page cache; servers and devices have theirs"]
    if any(
        one.cold is False and one.variant != "page cache" and one.task != "files"
        for one in findings.measures
    ):
        notes.append(
            "what is called warm could not be put out of the page cache: it measures memory"
        )
    if kind in _CACHED:
        notes.append(f"{kind} may cache on the node outside of the page cache, which stays")
    if crew is None:
        notes.append("everything is done by one node, while others use the storage too")
    else:
        notes.append("others use the storage too; a rate of all workers ends with the last of them")
        if len(set(crew.nodes)) == 1:
            notes.append("all workers are on one node: more nodes may get more")
    return tuple(notes)
