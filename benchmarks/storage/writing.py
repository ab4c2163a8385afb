"""Writing the field from Dask's blocks in memory, zlib 4: ours and xarray's ``to_netcdf``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.storage.measure import Watch
from benchmarks.storage.peers import OURS, PEERS, TUNED
from benchmarks.storage.recipe import VARIABLE, Archive

__all__ = ["PEER", "ways"]

PEER = "xarray's to_netcdf"
STEPS = 64
ENCODING = {
    VARIABLE: {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": (1, 181, 360)},
}


def ways(
    archive: Archive, folder: Path, without: dict[str, str]
) -> dict[str, Callable[[Watch], None]]:
    """Each writes 3 files' hours to one file, which is then read and thrown away.

    Raises
    ------
    RuntimeError
        If what was written is not what was to be written.
    """
    dataset = PEERS[TUNED].open(archive.first(3), None).load().drop_encoding()
    values = dataset[VARIABLE].values
    blocks = dataset.chunk({"time": STEPS})
    target = folder / "written.nc"

    def way(write: Callable[[], object]) -> Callable[[Watch], None]:
        def run(watch: Watch) -> None:
            try:
                with watch.running():
                    write()
                check(target, values)
            finally:
                target.unlink(missing_ok=True)

        return run

    def theirs() -> None:
        blocks.to_netcdf(target, engine="netcdf4", encoding=ENCODING)

    def ours() -> None:
        from hpclaunch.storage import to_netcdf

        to_netcdf(blocks, target, encoding=ENCODING)

    found = {PEER: way(theirs)}
    return found if OURS in without else {OURS: way(ours), **found}


def check(target: Path, values: np.ndarray) -> None:
    """Read the file by the HDF5 library."""
    import netCDF4

    with netCDF4.Dataset(target) as file:
        variable = file[VARIABLE]
        filters = variable.filters()
        if not (filters["zlib"] and filters["shuffle"] and filters["complevel"] == 4):
            raise RuntimeError(f"{target} was written with {filters}")
        if not np.array_equal(variable[:], values):
            raise RuntimeError(f"{target} holds other values than were written")
