"""How the tests open what was virtualized: as people do who do not have hpclaunch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import xarray as xr

__all__ = ["FORMATS", "opened"]

FORMATS = ("kerchunk-json", "kerchunk-parquet", "icechunk")


def opened(out: Path, form: str, group: str = "/") -> Callable[..., xr.Dataset]:
    """A function that opens a group, by keywords of `xarray.open_dataset`."""
    inside = group.strip("/") or None
    if form == "icechunk":
        return functools.partial(
            xr.open_dataset, icechunk_store(out), engine="zarr", consolidated=False, group=inside
        )
    if inside is None:
        return functools.partial(by_kerchunk, out)
    from kerchunk.utils import refs_as_store

    return functools.partial(
        xr.open_dataset, refs_as_store(str(out)), engine="zarr", zarr_format=2, group=inside
    )


def by_kerchunk(out: Path, **how: object) -> xr.Dataset:
    """Engine kerchunk takes the options of xarray in one of its own."""
    return xr.open_dataset(
        str(out), engine="kerchunk", open_dataset_options={"chunks": None, **how}
    )


def icechunk_store(out: Path) -> object:
    import icechunk

    storage = icechunk.local_filesystem_storage(str(out))
    config = icechunk.Repository.fetch_config(storage)
    assert config is not None and config.virtual_chunk_containers
    repository = icechunk.Repository.open(
        storage,
        authorize_virtual_chunk_access=dict.fromkeys(config.virtual_chunk_containers),
    )
    return repository.readonly_session("main").store
