"""Advice as lines to paste. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpclaunch.storage.advice import Advice
from hpclaunch.storage.chunking import Access

__all__ = ["with_code"]

_ROW = 'data_vars="minimal", coords="minimal", compat="override"'


def with_code(advice: Sequence[Advice], access: Access, leader: str | None) -> tuple[Advice, ...]:
    """Put to each piece of advice the line that does it, and in front the one that opens the files.

    Parameters
    ----------
    advice : sequence of Advice
    access : {"map", "series", "all"}
    leader : str or None
        The variable whose chunks are used.
    """
    engine = next((str(one.value) for one in advice if one.key == "engine"), "netcdf4")
    told = tuple(replace(one, code=_code(one, engine)) for one in advice)
    chunks = next((one for one in told if one.key == "chunks" and one.about == leader), None)
    if engine == "hpclaunch" and (chunks is None or not chunks.reason.startswith("faster")):
        extra = _group(leader or "")
        line = f'hpclaunch.storage.open_mfdataset(paths, access="{access}"{extra})'
        reason = "it opens the files from their indexes, with such chunks"
    elif chunks is not None:
        line, reason = chunks.code, "engine and chunks as below"
    else:
        line = f'xarray.open_mfdataset(paths, engine="{engine}", chunks={{}}, {_ROW})'
        reason = "engine as below"
    return (Advice("open", line, reason, code=line), *told)


def _code(one: Advice, engine: str) -> str:
    if one.key == "chunks" and isinstance(one.value, Mapping):
        return (
            f'xarray.open_mfdataset(paths, engine="{engine}", chunks={dict(one.value)!r}, '
            f"{_ROW}{_group(one.about)})"
        )
    if one.key == "workers" and isinstance(one.value, Mapping):
        workers, threads = one.value["workers"], one.value["threads"]
        return f"distributed.LocalCluster(n_workers={workers}, threads_per_worker={threads})"
    if one.key == "HDF5_USE_FILE_LOCKING" and one.value is not None:
        return f"export {one.key}={one.value}"
    if one.key in ("rdcc_nbytes", "page_buf_size"):
        return f"h5py.File(path, {one.key}={one.value})"
    if one.key == "rechunk":
        return "hpclaunch data rechunk SRC DST --access all"
    return str(one.value) if one.key in ("index", "stripes", "virtualize") else ""


def _group(name: str) -> str:
    group = name.strip("/").rpartition("/")[0]
    return f", group={'/' + group!r}" if group else ""
