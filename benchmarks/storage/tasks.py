"""What people do with such files, and with which engines it is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.storage.peers import AGAIN, OURS, TUNED
from benchmarks.storage.recipe import VARIABLE

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DECODED", "DEFAULTS", "LIMIT", "TASKS", "Task"]

LIMIT = "limit"
"""The same chunks inflated and unshuffled in memory."""
DECODED = "decoded, plus the limit"
"""The same reduction over decoded arrays in memory, plus the limit of the same round."""
DEFAULTS = ("netcdf4, default", "h5netcdf, default")


@dataclass(frozen=True)
class Task:
    """One thing that is done with a variant.

    Attributes
    ----------
    name : str
    variant : str
    work : callable or None
        Takes the open dataset, returns what is compared between engines. None where the opening
        itself is measured.
    peers : tuple of str
    files : int or None
        So many of the variant's; None for all.
    chunks : dict or None
        What the task prescribes for dask.
    repeat : int
        How often a short one is done in a round; the best counts.
    """

    name: str
    variant: str
    work: Callable[[xr.Dataset], Any] | None
    peers: tuple[str, ...]
    files: int | None = None
    chunks: dict[str, int] | None = None
    repeat: int = 1


def touch(dataset: xr.Dataset) -> None:
    """Read every block and keep one value of each."""
    array = dataset[VARIABLE].data
    one = tuple((1,) * len(blocks) for blocks in array.chunks)
    array.map_blocks(corner, dtype=array.dtype, chunks=one).compute()


def corner(block: np.ndarray) -> np.ndarray:
    """The first value of a block, with all its dimensions."""
    return block[(slice(0, 1),) * block.ndim].copy()


def mean(dataset: xr.Dataset) -> np.ndarray:
    """The mean of everything."""
    return dataset[VARIABLE].mean().values


def series(dataset: xr.Dataset) -> np.ndarray:
    """All times at one point."""
    return dataset[VARIABLE].isel(lat=90, lon=200).values


def one_map(dataset: xr.Dataset) -> np.ndarray:
    """One time, everywhere."""
    return dataset[VARIABLE].isel(time=dataset.sizes["time"] // 2 + 3).values


def climatology(dataset: xr.Dataset) -> np.ndarray:
    """The mean of each month."""
    return dataset[VARIABLE].groupby("time.month").mean().values


COMMON = (OURS, TUNED, "hidefix")
REFERENCES = (*COMMON, "kerchunk")
MISALIGNED = {"time": 50, "lat": 60, "lon": 100}

TASKS = {
    task.name: task
    for task in (
        Task("open 12 files", "std", None, (*REFERENCES, *DEFAULTS, AGAIN), repeat=5),
        Task("open 365 files", "many", None, (*REFERENCES, DEFAULTS[0], AGAIN)),
        Task("read", "std", touch, (*REFERENCES, LIMIT)),
        Task("mean", "std", mean, (*COMMON, *DEFAULTS, DECODED)),
        Task("series", "std", series, (*COMMON, *DEFAULTS), files=3),
        Task("map", "std", one_map, REFERENCES, repeat=9),
        Task("climatology", "std", climatology, COMMON),
        Task("misaligned", "std", touch, COMMON, files=3, chunks=MISALIGNED),
        Task("read packed", "packed", touch, (OURS, TUNED, "kerchunk")),
        Task("series packed", "packed", series, (OURS, TUNED), files=3),
        Task("read contiguous", "contig", touch, COMMON, repeat=3),
        Task("series contiguous", "contig", series, COMMON, repeat=3),
        Task("read unfiltered", "raw", touch, REFERENCES, repeat=3),
        Task("series unfiltered", "raw", series, COMMON, repeat=3),
        Task("read small chunks", "small", touch, COMMON),
        Task("series small chunks", "small", series, COMMON, repeat=3),
        Task("map small chunks", "small", one_map, COMMON, repeat=9),
        Task("read blocks", "block", touch, COMMON),
        Task("series blocks", "block", series, COMMON, repeat=3),
        Task("map blocks", "block", one_map, COMMON, repeat=5),
        Task("read 365 files", "many", touch, REFERENCES),
    )
}
