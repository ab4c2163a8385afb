"""Indexes of many files made at once, each in a process of its own.

The HDF5 library works under one lock in a process, so that threads do not help. A process that a
damaged file brings down takes no other file with it. They are started as ``python -c``, not by
`multiprocessing`, which would run the caller's script again.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from hpclaunch.errors import HpclaunchError, StorageError
from hpclaunch.storage import sidecar
from hpclaunch.storage.remote import Location, Remote, each, name_of, places_of

__all__ = ["Indexed", "index_many"]

_WORKER = """
import sys
sys.path[:0] = sys.argv[1:]
from hpclaunch.storage.many import serve
serve()
"""


@dataclass(frozen=True)
class Indexed:
    """What came of it.

    Attributes
    ----------
    kept : tuple of str
        The files that had an index already.
    built : tuple of str
        The files that have one now.
    failed : dict
        The other files, each with the reason.
    """

    kept: tuple[str, ...] = ()
    built: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)


def index_many(
    paths: Iterable[str | os.PathLike[str] | Remote],
    *,
    processes: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    directory: Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Indexed:
    """Make the indexes of many files, where they have none that is valid.

    Parameters
    ----------
    paths : iterable of str or path
        Also URLs.
    processes : int, optional
        By default one for each core that this process may use, and no more than eight.
    progress : callable, optional
        Called with the number of files that are done, of all files, and the path that was done
        last, in the calling thread.
    directory : pathlib.Path, optional
        Of the sidecars, instead of the usual one.
    storage_options : mapping, optional
        For fsspec's file system, with URLs.

    Returns
    -------
    Indexed
        A file that cannot be indexed is no error; it is told in `failed`.
    """
    places = _places(paths, storage_options)
    every = list(places)
    waiting: list[str] = []
    kept: list[str] = []
    failed: dict[str, str] = {}

    def look(place: Location) -> bool | str:
        try:
            return sidecar.cached(place, directory) is not None
        except (OSError, StorageError) as why:
            return str(why)

    for path, found in zip(every, each(look, list(places.values())), strict=True):
        if isinstance(found, str):
            failed[path] = found
        else:
            (kept if found else waiting).append(path)
    done = len(kept) + len(failed)
    if progress is not None and done:
        progress(done, len(every), (kept or list(failed))[-1])
    built = []
    with _Team(min(processes or _usual(), len(waiting)), directory) as team:
        for path, fault in team.work([places[path] for path in waiting]):
            if fault is None:
                built.append(path)
            else:
                failed[path] = fault
            done += 1
            if progress is not None:
                progress(done, len(every), path)
    order = {path: at for at, path in enumerate(every)}
    return Indexed(tuple(kept), tuple(sorted(built, key=order.__getitem__)), failed)


def _places(
    paths: Iterable[str | os.PathLike[str] | Remote], options: Mapping[str, Any] | None
) -> dict[str, Location]:
    """Paths and URLs by their names."""
    every = [one if isinstance(one, Remote) else os.fspath(one) for one in paths]
    places = [one if isinstance(one, Remote) else places_of([one], options)[0] for one in every]
    return {name_of(place): place for place in places}


def _usual() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(8, cores or 1)


class _Team:
    """Processes that make indexes, one file at a time each."""

    def __init__(self, size: int, directory: Path | None) -> None:
        self.size = size
        self.directory = directory
        self._free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self._threads = ThreadPoolExecutor(max(size, 1))

    def __enter__(self) -> _Team:
        for _ in range(self.size):
            self._free.put(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._free.empty():
            self._free.get().communicate()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _WORKER, *(one for one in sys.path if one)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def work(self, places: list[Location]) -> Iterator[tuple[str, str | None]]:
        """Each path, once it is done, with what went wrong."""
        for one in as_completed([self._threads.submit(self._one, place) for place in places]):
            yield one.result()

    def _one(self, place: Location) -> tuple[str, str | None]:
        path = name_of(place)
        where = base64.b64encode(pickle.dumps(place)).decode()
        process = self._free.get()
        answer = _ask(process, [where, self.directory and str(self.directory)])
        if answer:
            self._free.put(process)
            return path, json.loads(answer)
        code = process.wait()
        self._free.put(self._start())
        return path, f"the process that read it ended with {code}"


def _ask(process: subprocess.Popen[str], question: Any) -> str:
    """A line of the process; nothing if it ended."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except OSError:
        return ""


def serve() -> None:
    """Make an index for every line of standard input; answer with null or the fault."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        where, directory = json.loads(line)
        place: Location = pickle.loads(base64.b64decode(where))  # of the process that started this
        fault = None
        try:
            sidecar.load(place, directory=directory and Path(directory))
        except (HpclaunchError, OSError) as why:
            fault = str(why)
        except Exception as why:
            fault = f"{name_of(place)}: {type(why).__name__}: {why}"
        print(json.dumps(fault), file=answers, flush=True)
