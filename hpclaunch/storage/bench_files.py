"""Plain files: large ones written and read by requests of several sizes, and many small ones."""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hpclaunch.storage.bench_room import SMALL_FILE, drop
from hpclaunch.storage.bench_rounds import Case, Clock

__all__ = [
    "LARGE",
    "SMALL",
    "THREADS",
    "at_random",
    "each",
    "file_cases",
    "many_cases",
    "sequential",
    "write_large",
    "write_speed",
]

LARGE, SMALL = 8 * 2**20, 64 * 2**10
"""Bytes of a request."""
THREADS = 8
_TITLES = {LARGE: "8 MiB", SMALL: "64 KiB"}
_FEW = 256
"""Random requests of a round, at most."""


@functools.cache
def _noise() -> bytes:
    """One large request, made before anything is timed."""
    return os.urandom(LARGE)


def write_speed(path: Path, size: int) -> float:
    """Bytes a second of a first file, for a guess at how much can be written in a given time."""
    _noise()
    began = time.perf_counter()
    write_large(path, size, LARGE)
    return size / max(time.perf_counter() - began, 1e-9)


def write_large(path: Path, size: int, request: int, clock: Clock | None = None) -> int:
    """Write a file of bytes that do not deflate, and have it on the disk; returns its size."""
    block = memoryview(_noise())[: min(request, size)]
    done = 0
    with path.open("wb", buffering=0) as file:
        while done < size and not (clock is not None and done and clock.over):
            done += file.write(block[: size - done])
        os.fsync(file.fileno())
    return done


def file_cases(folder: Path, large: Path) -> list[Case]:
    """Sequential and random requests.

    Parameters
    ----------
    folder : Path
        Where files may be written.
    large : Path
        The file that is read.
    """
    size = large.stat().st_size
    written = folder / "written"
    dropped = functools.partial(drop, large)
    cases = []
    for request, title in _TITLES.items():
        cases += [
            Case(
                f"write/{title}",
                f"sequential write and fsync, requests of {title}",
                "MiB/s",
                functools.partial(_write, written, size, request),
                clean=lambda: written.unlink(missing_ok=True),
            ),
            Case(
                f"sequential/{title}",
                f"sequential read, requests of {title}",
                "MiB/s",
                functools.partial(sequential, large, request),
                dropped,
            ),
            Case(
                f"random/{title}",
                f"random read, requests of {title}",
                "MiB/s",
                functools.partial(at_random, large, request, 1),
                dropped,
            ),
        ]
    cases += [
        Case(
            "sequential/page cache",
            "sequential read out of the page cache",
            "MiB/s",
            functools.partial(sequential, large, LARGE),
            functools.partial(_warmed, large),
        ),
        Case(
            f"random/{_TITLES[SMALL]}, {THREADS} threads",
            f"random read, requests of {_TITLES[SMALL]} by {THREADS} threads",
            "MiB/s",
            functools.partial(at_random, large, SMALL, THREADS),
            dropped,
        ),
    ]
    return sorted(cases, key=lambda case: ["write", "sequential", "random"].index(case.task))


def _write(path: Path, size: int, request: int, clock: Clock) -> float:
    return write_large(path, size, request, clock) / 2**20


def _warmed(path: Path) -> bool:
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(LARGE)
        while file.readinto(buffer):
            pass
    return False


def sequential(path: Path, request: int, clock: Clock) -> float:
    """Read a file from its beginning until its end or that of the time; returns MiB."""
    buffer = bytearray(request)
    done = 0
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            done += got
            if clock.over:
                break
    return done / 2**20


def at_random(path: Path, request: int, threads: int, clock: Clock) -> float:
    """Read requests at random places; returns MiB.

    No place is read twice, so that the page cache does not help.
    """
    places = list(range(0, path.stat().st_size - request + 1, request)) or [0]
    random.shuffle(places)
    shares = [places[:_FEW][one::threads] for one in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda share: _at(path, request, share, clock), shares)) / 2**20


def _at(path: Path, request: int, places: Sequence[int], clock: Clock) -> int:
    buffer = bytearray(request)
    done = 0
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for place in places:
            file.seek(place)
            done += file.readinto(buffer) or 0
            if clock.over:
                break
    return done


def many_cases(folder: Path, files: int) -> list[Case]:
    """Many small files: made, looked at, opened and read, removed.

    The files are made by the first case and are left when they are made again.
    """
    own = folder / "many"
    paths = [own / f"{number:05}" for number in range(files)]

    def make(clock: Clock) -> float:
        own.mkdir(exist_ok=True)
        return each(paths, lambda path: path.write_bytes(b"x" * SMALL_FILE), clock)

    def there() -> bool:
        """They are in this node's memory: another node's would be asked of the servers."""
        own.mkdir(exist_ok=True)
        for path in paths:
            if not path.exists():
                path.write_bytes(b"x" * SMALL_FILE)
        return False

    def all_there() -> None:
        there()

    def emptied() -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    return [
        Case("files/create", "small files created", "1/s", make, emptied),
        Case("files/stat", "stat of small files", "1/s",
             functools.partial(each, paths, Path.stat), there),
        Case("files/open", "small files opened, read and closed", "1/s",
             functools.partial(each, paths, Path.read_bytes), there),
        Case("files/remove", "small files removed", "1/s",
             functools.partial(each, paths, Path.unlink), all_there),
    ]  # fmt: skip


def each(paths: Sequence[Path], do: Callable[[Path], object], clock: Clock) -> float:
    """Do something with one path after the other until the time is over; how many it were."""
    for done, path in enumerate(paths):
        if done and clock.over:
            return done
        do(path)
    return len(paths)
