"""How each engine opens the files, as its users are told to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.storage.recipe import Archive

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AGAIN", "OURS", "PEERS", "TUNED", "Peer", "missing"]

OURS = "hpclaunch"
AGAIN = "hpclaunch, again"
"""The same in a process that has opened the files before and still knows their indexes."""
TUNED = "netcdf4, tuned"
NESTED = {
    "combine": "nested",
    "concat_dim": "time",
    "compat": "override",
    "coords": "minimal",
    "data_vars": "minimal",
    "join": "override",
}
BLOCK = 16 << 20
"""Bytes of a decode block of ours, float32, where open_mfdataset does not choose."""


@dataclass(frozen=True)
class Peer:
    """One way to open files.

    Attributes
    ----------
    name : str
    open : callable
        Takes the archive and the chunks that the task prescribes, or None.
    forget : callable
        Drops what the process remembers of the files, so that every round begins alike.
    prepare : callable
        Makes once what it keeps on disk: an index, a JSON.
    """

    name: str
    open: Callable[[Archive, dict[str, int] | None], xr.Dataset]
    forget: Callable[[], None] = lambda: None
    prepare: Callable[[Archive], None] = lambda _: None


def tuned(engine: str) -> Callable[[Archive, dict[str, int] | None], xr.Dataset]:
    """Nested, override, minimal; a task reads a whole file."""

    def open_(archive: Archive, chunks: dict[str, int] | None) -> xr.Dataset:
        import xarray as xr

        return xr.open_mfdataset(archive.paths, engine=engine, chunks=chunks or FILE, **NESTED)

    return open_


FILE = {"time": -1}


def default(engine: str) -> Callable[[Archive, dict[str, int] | None], xr.Dataset]:
    """As xarray does it where nothing is said."""

    def open_(archive: Archive, chunks: dict[str, int] | None) -> xr.Dataset:
        import xarray as xr

        more = {} if chunks is None else {"chunks": chunks}
        return xr.open_mfdataset(archive.paths, engine=engine, **more)

    return open_


def open_ours(archive: Archive, chunks: dict[str, int] | None) -> xr.Dataset:
    """hpclaunch.storage.open_mfdataset, or the engine with blocks of 16 MB."""
    import hpclaunch.storage

    if hasattr(hpclaunch.storage, "open_mfdataset"):
        more = {} if chunks is None else {"chunks": chunks}
        return hpclaunch.storage.open_mfdataset(archive.paths, **more)
    step = (archive.variant.chunks or (1,))[0]
    blocks = {"time": max(1, BLOCK // (181 * 360 * 4) // step) * step}
    return tuned(OURS)(archive, chunks or blocks)


def forget_ours() -> None:
    """Drop indexes and decoded chunks that this process keeps; sidecars stay."""
    from hpclaunch.storage import sidecar
    from hpclaunch.storage.chunkcache import cache

    sidecar.forget()
    cache.clear()


def prepare_ours(archive: Archive) -> None:
    """Have the index of every file on disk."""
    from hpclaunch.storage import sidecar

    for path in archive.paths:
        sidecar.load(path)
    forget_ours()


def combined(archive: Archive) -> Path:
    """Where kerchunk's JSON of these files lies."""
    first = Path(archive.paths[0])
    return first.parents[1] / f"{archive.variant.name}-{len(archive.paths)}.kerchunk.json"


def prepare_kerchunk(archive: Archive) -> None:
    """Write the combined JSON where there is none."""
    file = combined(archive)
    if file.exists():
        return
    from kerchunk.combine import MultiZarrToZarr
    from kerchunk.hdf import SingleHdf5ToZarr

    single = [SingleHdf5ToZarr(path, inline_threshold=0).translate() for path in archive.paths]
    both = MultiZarrToZarr(single, concat_dims=["time"], identical_dims=["lat", "lon"])
    passing = file.with_suffix(f".{os.getpid()}")
    passing.write_text(json.dumps(both.translate()))
    passing.replace(file)


def open_kerchunk(archive: Archive, chunks: dict[str, int] | None) -> xr.Dataset:
    """The combined JSON, through zarr; a task reads about a month."""
    import xarray as xr

    return xr.open_dataset(
        str(combined(archive)), engine="kerchunk", chunks=chunks or {"time": MONTH}
    )


MONTH = 744


def forget_kerchunk() -> None:
    """Drop the reference file systems that fsspec remembers."""
    from fsspec.implementations.reference import ReferenceFileSystem

    ReferenceFileSystem.clear_instance_cache()


PEERS = {
    peer.name: peer
    for peer in (
        Peer(OURS, open_ours, forget_ours, prepare_ours),
        Peer(AGAIN, open_ours, prepare=prepare_ours),
        Peer(TUNED, tuned("netcdf4")),
        Peer("netcdf4, default", default("netcdf4")),
        Peer("h5netcdf, default", default("h5netcdf")),
        Peer("hidefix", tuned("hidefix")),
        Peer("kerchunk", open_kerchunk, forget_kerchunk, prepare_kerchunk),
    )
}


def missing() -> dict[str, str]:
    """What cannot be measured here, by name, and why."""
    import importlib

    found: dict[str, str] = {}
    for name, module in (
        (OURS, "hpclaunch.storage.engine"),
        (AGAIN, "hpclaunch.storage.engine"),
        ("hidefix", "hidefix"),
        ("kerchunk", "kerchunk.hdf"),
        ("h5netcdf, default", "h5netcdf"),
    ):
        try:
            importlib.import_module(module)
        except ImportError as error:
            found[name] = str(error)
    return found
