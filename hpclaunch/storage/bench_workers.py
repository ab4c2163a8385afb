"""The same storage from all workers of a Dask cluster at once, and from one of them alone.

What one node gets is bound by its own link; what all get together is bound by the servers. Workers
read what another node has written, where there is one, so that it is not in their own memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hpclaunch.storage import bench_files
from hpclaunch.storage.bench_crew import Crew
from hpclaunch.storage.bench_files import LARGE, SMALL, write_large
from hpclaunch.storage.bench_netcdf import NAME
from hpclaunch.storage.bench_room import SMALL_FILE, drop
from hpclaunch.storage.bench_rounds import Case, Clock

__all__ = ["field_cases", "file_cases", "many_cases", "write_speed"]

_ENGINES = ("hpclaunch", "netcdf4")


def write_speed(crew: Crew, folder: Path, size: int) -> float:
    """Bytes a second that each worker writes while all do, for a guess at how much can be."""
    calls = [(str(folder / f"first-{number:05}"), size, None) for number in range(len(crew.nodes))]
    crew.each(_write, calls)  # what is imported and made once only
    began = time.perf_counter()
    crew.each(_write, calls)
    took = time.perf_counter() - began
    _unlink([path for path, *_ in calls])
    return size / max(took, 1e-9)


def file_cases(crew: Crew, folder: Path, size: int) -> list[Case]:
    """Large files written and read by all workers at once, and by one alone.

    Parameters
    ----------
    crew : Crew
    folder : Path
        Where files may be written.
    size : int
        Bytes of each worker's file.
    """
    paths = [str(folder / f"large-{number:05}") for number in range(len(crew.addresses))]
    crew.each(_write, [(path, size, None) for path in paths])
    cases = []
    for some in _both(crew):
        count = len(some.addresses)
        written = [str(folder / f"written-{number:05}") for number in range(count)]
        others = [paths[(number + 1) % len(paths)] for number in range(count)]
        name = _variant(some)
        cases += [
            Case(
                f"write/8 MiB, {name}",
                f"sequential write and fsync, 8 MiB, {some.title}",
                "MiB/s",
                partial(_all, some, _write, [(path, size) for path in written]),
                clean=partial(_unlink, written),
            ),
            Case(
                f"sequential/8 MiB, {name}",
                f"sequential read, 8 MiB, {some.title}",
                "MiB/s",
                partial(_all, some, _sequential, [(path,) for path in others]),
                partial(_dropped, some, others),
            ),
            Case(
                f"random/64 KiB, {name}",
                f"random read, 64 KiB, {some.title}",
                "MiB/s",
                partial(_all, some, _random, [(path,) for path in others]),
                partial(_dropped, some, others),
            ),
        ]
    return sorted(cases, key=lambda case: ["write", "sequential", "random"].index(case.task))


def many_cases(crew: Crew, folder: Path, files: int) -> list[Case]:
    """Small files created by all workers at once, each in a directory of its own."""
    cases = []
    for some in _both(crew):
        places = [str(folder / f"many-{number:05}") for number in range(len(some.addresses))]
        calls = [(place, files) for place in places]
        cases.append(
            Case(
                f"files/create, {_variant(some)}",
                f"small files created, {some.title}",
                "1/s",
                partial(_all, some, _create, calls),
                clean=partial(some.each, _remove, [(place,) for place in places]),
            )
        )
    return cases


def field_cases(crew: Crew, path: Path, steps: int) -> list[Case]:
    """A deflated field read by all workers at once, each its share of the times, and by one alone.

    Parameters
    ----------
    crew : Crew
    path : Path
        Of the NetCDF file.
    steps : int
        Times of the field.
    """
    cases = []
    ends = [steps * number // len(crew.addresses) for number in range(len(crew.addresses) + 1)]
    for some in _both(crew):
        count = len(some.addresses)
        shares = [(ends[number], ends[number + 1]) for number in range(count)]
        for engine in _ENGINES:
            calls = [(str(path), engine, *share) for share in shares]
            cases.append(
                Case(
                    f"all/{engine}, {_variant(some)}",
                    f"a share of the field for each, {engine}, {some.title}",
                    "MiB/s",
                    partial(_all, some, _read_field, calls),
                    partial(_dropped, some, [str(path)] * count),
                )
            )
    return cases


def _both(crew: Crew) -> tuple[Crew, ...]:
    return (crew, crew.alone) if len(crew.addresses) > 1 else (crew,)


def _variant(some: Crew) -> str:
    return "one worker" if len(some.addresses) == 1 else "all workers"


def _all(some: Crew, do: Callable[..., float], calls: list[tuple[Any, ...]], clock: Clock) -> float:
    """What all did, in the unit of the case; its time ends with the last of them."""
    return float(sum(some.each(do, [(*call, clock.left) for call in calls])))


def _dropped(some: Crew, paths: Sequence[str]) -> bool:
    return all(some.each(_drop, [(path,) for path in paths]))


def _unlink(paths: Sequence[str]) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)


# What follows runs on the workers.


def _write(path: str, size: int, seconds: float | None) -> float:
    clock = None if seconds is None else Clock(seconds)
    return write_large(Path(path), size, LARGE, clock) / 2**20


def _sequential(path: str, seconds: float) -> float:
    return bench_files.sequential(Path(path), LARGE, Clock(seconds))


def _random(path: str, seconds: float) -> float:
    return bench_files.at_random(Path(path), SMALL, 1, Clock(seconds))


def _drop(path: str) -> bool:
    """Let go of what this node and this process keep of a file; whether it is out of memory."""
    from hpclaunch.storage.chunkcache import cache

    cache.clear()
    return drop(Path(path))


def _create(place: str, files: int, seconds: float) -> float:
    own = Path(place)
    own.mkdir(exist_ok=True)
    paths = [own / f"{number:05}" for number in range(files)]
    return bench_files.each(paths, lambda path: path.write_bytes(b"x" * SMALL_FILE), Clock(seconds))


def _remove(place: str) -> None:
    for path in Path(place).glob("*"):
        path.unlink(missing_ok=True)


def _read_field(path: str, engine: str, first: int, last: int, _seconds: float) -> float:
    import xarray as xr

    with xr.open_dataset(path, engine=engine, cache=False) as field:
        return float(field[NAME][first:last].values.nbytes) / 2**20
