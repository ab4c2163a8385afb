"""A program of dask-mpi that writes by collective MPI-IO: what `test_write_collective` looks at.

``mpirun -n RANKS PYTHON -m tests.storage.collective_script FOLDER CASE...`` runs functions below on
rank 1, each in a folder of its own, and prints one line of JSON: what they tell, by their names.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import h5py
import numpy as np
import xarray as xr
from distributed import Client

from hpclaunch.storage import collective, mpiranks, to_netcdf
from tests.storage.test_write import assert_same_file, climate, field, xarrays


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def noise(rows: int, length: int = 1000) -> xr.Dataset:
    """A block for each row of random numbers."""
    numbers = da.random.default_rng(1).random((rows, length), chunks=(1, length))
    return xr.Dataset({"v": (("t", "x"), numbers)}, {"t": np.arange(rows)})


ROWS = {"v": {"chunksizes": (1, 1000)}}


def same(client: Client, folder: Path) -> dict[str, Any]:
    """Files of many kinds are those that xarray writes."""
    done = []

    def alike(name: str, dataset: xr.Dataset, **options: Any) -> None:
        ours, theirs = folder / f"{name}.nc", folder / "theirs.nc"
        told = to_netcdf(dataset, ours, collective=True, **options)
        plain = {k: v for k, v in options.items() if k in ("encoding", "unlimited_dims", "group")}
        if "group" not in options:
            with dask.config.set(scheduler="threads"):
                xarrays(dataset, theirs, ours, **plain)
            assert_same_file(ours, theirs)
            theirs.unlink()
        done.append([name, told.chunks, told.nbytes, told.stored, sorted(told.plain)])

    for access in ("map", "series", "all"):
        for free in (None, "time"):
            alike(f"{access}-{free}", climate(), access=access, unlimited_dims=free)
    for dtype in ("f8", "i1", "u2", "i8"):
        alike(dtype, climate(dtype))
    alike("bare", climate(), level=0)
    alike("summed", climate(fletcher32=True, zlib=True))
    alike("packed", climate(dtype="i2", scale_factor=0.01, _FillValue=-32768))
    alike("edges", climate(chunksizes=(5, 7, 11)), unlimited_dims=["time", "lat"])
    alike("one-block", xr.Dataset({"v": (("x", "y"), field((30, 40), chunks=(30, 40)))}))
    alike("in-a-group", climate(), group="model/run1")
    return {"done": done, "names": names(folder)}


def many(client: Client, folder: Path) -> dict[str, Any]:
    """More blocks than the window has room for; two threads write at the same time."""
    seen: list[tuple[int, int]] = []

    def write(name: str) -> None:
        def tell(done: int, total: int) -> None:
            seen.append((done, total))

        told[name] = to_netcdf(
            noise(60), folder / name, encoding=ROWS, collective=True, progress=tell
        ).chunks

    told: dict[str, int] = {}
    threads = [threading.Thread(target=write, args=(name,)) for name in ("a.nc", "b.nc")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    held = client.run(lambda dask_worker: len(dask_worker.data))
    return {"told": told, "last": seen[-1], "held": sum(held.values()), "names": names(folder)}


def failing_task(client: Client, folder: Path) -> dict[str, Any]:
    """A task that fails in the middle, and the file that is written after it."""

    def fail(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        if block_id == (41, 0):
            raise ZeroDivisionError("in the middle")
        return block

    dataset = noise(60)
    dataset["v"].data = da.map_blocks(fail, dataset["v"].data, dtype="f8")
    return {"said": _said(dataset, folder), **_after(folder)}


def failing_rank(client: Client, folder: Path) -> dict[str, Any]:
    """One rank has lost a block that it was to write: all of them stop."""
    victim = min(client.nthreads())
    calls = collective.Crew._calls

    def lose(*arguments: Any) -> Any:
        found = calls(*arguments)
        mine = [(path, piece and replace(piece, key="lost")) for path, piece in found[victim]]
        return {**found, victim: mine}

    collective.Crew._calls = lose
    said = _said(noise(60), folder)
    collective.Crew._calls = calls
    return {"said": said, **_after(folder)}


def damaged(client: Client, folder: Path) -> dict[str, Any]:
    """Bytes that have not come to the disk, of which no one was told."""
    run_all = collective.Crew._all

    def spoil(crew: Any, function: Any, *arguments: Any, **more: Any) -> None:
        if function is mpiranks.verify:
            (part,) = folder.iterdir()
            with h5py.File(part, "r") as file:
                at = file["v"].id.get_chunk_info(7).byte_offset
            with part.open("r+b") as raw:
                raw.seek(at + 100)
                raw.write(bytes(1000))
        run_all(crew, function, *arguments, **more)

    collective.Crew._all = spoil
    said = _said(noise(60), folder)
    collective.Crew._all = run_all
    return {"said": said, **_after(folder)}


def stuck(client: Client, folder: Path) -> dict[str, Any]:
    """The rank that writes for all fails within HDF5, where it cannot tell the others."""
    from mpi4py import MPI

    told = client.run(mpiranks.facts, str(folder))
    victim = min(told, key=lambda address: told[address].rank)

    def limit(dask_worker: Any) -> None:
        if dask_worker.address == victim:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    client.run(limit)
    collective.PATIENCE = 2.0
    said = _said(noise(60), folder)
    print(json.dumps({"stuck": {"said": said, "names": names(folder)}}), flush=True)
    MPI.COMM_WORLD.Abort(3)
    raise AssertionError("MPI went on")


def full_disk(client: Client, folder: Path) -> dict[str, Any]:
    """The disk becomes full while the ranks write."""
    older = folder / "a.nc"
    older.write_text("older")
    return {
        "said": _said(noise(60, 50_000), folder),
        "names": names(folder),
        "text": older.read_text(),
    }


def killed(client: Client, folder: Path) -> dict[str, Any]:
    """A worker is killed in the middle."""

    def kill(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        if block_id == (41, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    dataset = noise(60)
    dataset["v"].data = da.map_blocks(kill, dataset["v"].data, dtype="f8")
    return {"said": _said(dataset, folder)}


def _said(dataset: xr.Dataset, folder: Path) -> str:
    rows = {"v": {"chunksizes": (1, dataset.sizes["x"])}}
    try:
        to_netcdf(dataset, folder / "a.nc", encoding=rows, collective=True)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return "no error"


def _after(folder: Path) -> dict[str, Any]:
    left = names(folder)
    told = to_netcdf(noise(10), folder / "b.nc", encoding=ROWS, collective=True)
    return {"left": left, "chunks": told.chunks, "names": names(folder)}


def main() -> None:
    from dask_mpi import initialize

    warnings.simplefilter("ignore")
    initialize(nthreads=1, dashboard=False)
    from mpi4py import MPI

    with Client() as client:
        client.wait_for_workers(MPI.COMM_WORLD.Get_size() - 2)
        told = {}
        for case in sys.argv[2:]:
            folder = Path(sys.argv[1]) / case
            folder.mkdir()
            told[case] = globals()[case](client, folder)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
