"""A filesystem where every read call takes its time: how many calls, and how long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.storage.measure import Watch
from benchmarks.storage.peers import OURS, PEERS, TUNED
from benchmarks.storage.recipe import Archive

__all__ = ["DELAY_MS", "Latency", "compile_shim"]

DELAY_MS = 2
NAMES = (OURS, TUNED, "hidefix", "kerchunk")
SOURCE = Path(__file__).with_name("calls.c")


def compile_shim(folder: Path) -> Path:
    """The compiled shim, made by the system's ``cc`` where the source is newer."""
    library = folder / "calls.so"
    if not library.exists() or library.stat().st_mtime < SOURCE.stat().st_mtime:
        passing = folder / f"calls.{os.getpid()}"
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(passing), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        passing.replace(library)
    return library


class Latency:
    """The ways to read 3 files of `std` with a delay, and what they called.

    Attributes
    ----------
    calls : dict
        Read calls, opening not included, by engine; of the last round.
    opening : dict
        Read calls of the opening.
    """

    def __init__(self, archive: Archive, folder: Path, without: dict[str, str]) -> None:
        self.archive = archive.first(3)
        self.shim = compile_shim(folder)
        self.below = Path(archive.paths[0]).parent
        self.names = [name for name in NAMES if name not in without]
        self.calls: dict[str, float] = {}
        self.opening: dict[str, float] = {}
        self.megabytes: dict[str, float] = {}
        for name in self.names:
            PEERS[name].prepare(self.archive)

    def ways(self) -> dict[str, Callable[[Watch], None]]:
        return {name: lambda watch, name=name: self.one(name, watch) for name in self.names}

    def one(self, name: str, watch: Watch) -> None:
        """Run the process of one engine."""
        environment = {
            **os.environ,
            "LD_PRELOAD": str(self.shim),
            "HPCLAUNCH_CALLS_BELOW": str(self.below.resolve()),
        }
        program = [sys.executable, "-m", "benchmarks.storage.slow_read", str(DELAY_MS)]
        command = [*program, name, *self.archive.paths]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        said = json.loads(done.stdout.splitlines()[-1])
        watch.walls.append(said["wall"])
        watch.processors.append(said["processor"])
        self.calls[name], self.opening[name] = said["calls"], said["opening"]
        self.megabytes[name] = said["bytes"] / 1e6
