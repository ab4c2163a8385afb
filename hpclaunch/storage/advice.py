"""How files are best read by xarray and Dask, by rules. Pure: facts in, advice out.

The rules come from measurements on files of 0.2 GB to 2 GB (docs/performance.md): a decoded block
of about 16 MB stays in a processor's cache, one of 128 MB (Dask's own choice) costs half as much
again; one task for each HDF5 chunk costs two to three times as much; blocks that cut through
chunks decode them twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpclaunch.storage.arrangement import Access as Cost
from hpclaunch.storage.blocks import LARGEST, Machine, block_shape
from hpclaunch.storage.chunking import Access, chunk_shape
from hpclaunch.storage.describe import FileFacts, VariableFacts
from hpclaunch.storage.places import Place
from hpclaunch.storage.striping import stripe_command, suited_stripes

__all__ = ["Advice", "Gain", "advise_facts"]

THREADS = 8
"""Of a worker, where it has so many cores."""

PAGES = 16
"""Pages of metadata that are kept."""

WORTH = 16
"""Bytes decoded for one that is wanted, from where on another chunk shape is worth its making."""


@dataclass(frozen=True)
class Gain:
    """How many times as fast the advised way was on a sample.

    Attributes
    ----------
    ratio : float
        The other way's seconds for each second of the advised one: the median of the rounds.
    low, high : float
        Of the rounds.
    against : str
        What the other way was.
    rounds : int
    """

    ratio: float
    low: float
    high: float
    against: str
    rounds: int

    @property
    def told(self) -> Literal["faster", "slower", "could not tell"]:
        """What the rounds say: the latter where they do not agree, or there was only one."""
        if self.rounds < 2 or self.low <= 1 <= self.high:
            return "could not tell"
        return "faster" if self.low > 1 else "slower"


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes
    ----------
    key : str
        What it is about, such as ``chunks`` or ``HDF5_USE_FILE_LOCKING``.
    value : str, int, dict or None
        What it shall be; None where it shall be left as it is.
    reason : str
        Why, for people.
    about : str
        The variable, or "" for all files.
    code : str
        A line of Python or a command to paste; "" where there is none.
    gains : tuple of Gain
        As measured on a sample of the files; empty where nothing was measured.
    unmeasured : str
        Why nothing was measured.
    """

    key: str
    value: str | int | Mapping[str, int] | None
    reason: str
    about: str = ""
    code: str = ""
    gains: tuple[Gain, ...] = ()
    unmeasured: str = ""


def advise_facts(
    facts: FileFacts, place: Place, machine: Machine, pattern: Access = "all", *, files: int = 1
) -> tuple[Advice, ...]:
    """Advise on files that are laid out like one of them.

    Parameters
    ----------
    facts : FileFacts
    place : Place
    machine : Machine
    pattern : {"map", "series", "all"}
    files : int
        How many there are.
    """
    data = [one for one in facts.variables if one.nbytes and len(one.shape) > 1]
    return (
        _engine(facts),
        *(_blocks(one, pattern, machine, files) for one in data),
        _processes(machine),
        *_beforehand(files),
        _locking(place),
        *_library_cache(data),
        *_page_buffer(facts, data),
        *(advice for one in data for advice in _rechunk(one, pattern)),
        *_stripes(place, facts.size, max(map(_chunk_bytes, data), default=0)),
    )


def _engine(facts: FileFacts) -> Advice:
    left = [one.name for one in facts.variables if one.reason]
    if left and len(left) == len(facts.variables):
        return Advice("engine", "netcdf4", "all variables are left to the HDF5 library")
    some = f"; the HDF5 library reads {', '.join(left)}" if left else ""
    return Advice("engine", "hpclaunch", f"it decodes outside of HDF5's lock{some}")


def _blocks(one: VariableFacts, pattern: Access, machine: Machine, files: int) -> Advice:
    nbytes = one.nbytes or 0
    itemsize = nbytes // math.prod(one.shape)
    block = block_shape(one.shape, one.chunks, itemsize, pattern, machine, files=files)
    tasks = files * math.prod(-(-n // b) for n, b in zip(one.shape, block, strict=True))
    each = math.prod(block) * itemsize
    whole = "whole HDF5 chunks, " if one.chunks is not None else ""
    reason = f"{whole}{each / 2**20:.3g} MiB decoded in each of {tasks} tasks"
    return Advice("chunks", dict(zip(one.dims, block, strict=True)), reason, one.name)


def _processes(machine: Machine) -> Advice:
    few = min(THREADS, machine.cores)
    if machine.workers > 1 and machine.threads < few:
        return Advice(
            "workers",
            {"workers": -(-machine.cores // few), "threads": few},
            "decoding does not hold Python's lock, and the threads of a process share decoded "
            "chunks and indices: as many processes took 1.3 to 1.9 times as long",
        )
    return Advice("workers", None, "threads decode beside one another")


def _beforehand(files: int) -> Iterator[Advice]:
    if files > 1:
        yield Advice(
            "index",
            "hpclaunch data index FILE...",
            f"the first opening of {files} files looks at each of them; later ones do not",
        )


def _page_buffer(facts: FileFacts, data: Sequence[VariableFacts]) -> Iterator[Advice]:
    """HDF5's page buffer, for files that were written in pages (H5Pset_page_buffer_size)."""
    left = [one.name for one in data if one.reason]
    if facts.paged and facts.page and left:
        yield Advice(
            "page_buf_size",
            max(PAGES * facts.page, 2**24),
            f"metadata lies in pages of {facts.page} bytes, and the HDF5 library reads "
            f"{', '.join(left)}; h5py and h5netcdf take it",
        )


def _locking(place: Place) -> Advice:
    key = "HDF5_USE_FILE_LOCKING"
    if place.shared:
        return Advice(
            key,
            "FALSE",
            f"for reading on {place.kind.title}, where nobody writes to the files meanwhile: locks "
            "over the network are slow or refused",
        )
    return Advice(key, None, f"locks are cheap on {place.kind.title}")


def _library_cache(data: Sequence[VariableFacts]) -> Iterator[Advice]:
    """The chunk cache of the HDF5 library, for what it must read (H5Pset_chunk_cache)."""
    for one in data:
        if not one.reason or one.chunks is None or not one.count:
            continue
        costs = [cost for cost in (one.maps, one.series) if cost is not None]
        chunk = _chunk_bytes(one)
        held = min((cost.chunks for cost in costs), default=1)
        size = min(max(2**20, chunk * held), 2**28)
        if size >= chunk:
            yield Advice(
                "rdcc_nbytes",
                size,
                f"the HDF5 library reads it, and keeps {size // max(chunk, 1)} of its chunks then",
                one.name,
            )


def _chunk_bytes(one: VariableFacts) -> int:
    return (one.nbytes or 0) * math.prod(one.chunks or (0,)) // max(1, math.prod(one.shape))


def _rechunk(one: VariableFacts, pattern: Access) -> Iterator[Advice]:
    """Whether another chunk shape is worth writing the file anew."""
    cost = {"map": one.maps, "series": one.series, "all": None}[pattern]
    if cost is None or cost.amplification < WORTH or cost.decoded < LARGEST or not one.nbytes:
        return
    itemsize = one.nbytes // math.prod(one.shape)
    shape = chunk_shape(one.shape, itemsize, "all")
    better = _cost_with(one.shape, shape, itemsize, pattern)
    if better.decoded * 4 > cost.decoded:
        return
    pays = max(1, round(3 * one.nbytes / (cost.decoded - better.decoded)))
    yield Advice(
        "rechunk",
        dict(zip(one.dims, shape, strict=True)),
        f"one {pattern} decodes {cost.decoded / 2**20:.3g} MiB, with these chunks "
        f"{better.decoded / 2**20:.3g} MiB: writing it anew pays after about {pays} of them",
        one.name,
    )


def _cost_with(shape: Sequence[int], chunk: Sequence[int], itemsize: int, pattern: Access) -> Cost:
    single = range(len(shape) - 2) if pattern == "map" else range(1, len(shape))
    grid = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    chunks = math.prod(1 if i in single else n for i, n in enumerate(grid))
    wanted = math.prod(1 if i in single else n for i, n in enumerate(shape))
    return Cost(chunks, chunks * math.prod(chunk) * itemsize, wanted * itemsize)


def _stripes(place: Place, size: int, chunk: int) -> Iterator[Advice]:
    command = stripe_command(place.kind.name, size, chunk)
    if command is None:
        return
    now = place.stripes
    if now is not None and 0 < now.count < suited_stripes(size).count:
        yield Advice(
            "stripes",
            command,
            f"for new files of this size: these lie on {now.count} target(s) only",
        )
