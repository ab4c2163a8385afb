"""The first use in a fresh process: imports, opening a file, the first map."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from benchmarks.storage.measure import Watch
from benchmarks.storage.peers import OURS, PEERS
from benchmarks.storage.recipe import VARIABLE, Archive

__all__ = ["NETCDF4", "ways"]

NETCDF4 = "netcdf4"
PROGRAM = """
import sys, xarray
file = xarray.open_dataset(sys.argv[1], engine=sys.argv[2])
print(file[sys.argv[3]].isel(time=1).values[50, 60])
"""


def ways(archive: Archive, without: dict[str, str]) -> dict[str, Callable[[Watch], str]]:
    """A Python process of each engine, whole."""

    def way(engine: str) -> Callable[[Watch], str]:
        command = [sys.executable, "-c", PROGRAM, archive.paths[0], engine, VARIABLE]

        def run(watch: Watch) -> str:
            with watch.running():
                return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

        return run

    engines = [name for name in (OURS, NETCDF4, "hidefix") if name not in without]
    if OURS in engines:
        PEERS[OURS].prepare(archive.first(1))
    return {engine: way(engine) for engine in engines}
