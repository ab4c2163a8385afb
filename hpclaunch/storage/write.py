"""Writing NetCDF-4 from Dask arrays: encoded and deflated in parallel, outside of HDF5's lock."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.errors import StorageError
from hpclaunch.storage import cores
from hpclaunch.storage.chunking import Access, access_as, aligned_blocks
from hpclaunch.storage.collective import Crew, crew_of
from hpclaunch.storage.run import Job, cluster_client, fill, fill_plainly
from hpclaunch.storage.skeleton import (
    SETTINGS,
    Pending,
    Skeleton,
    expected_size,
    make_skeleton,
    with_encodings,
)
from hpclaunch.storage.striped import Striping, stripe_part
from hpclaunch.storage.striping import Wanted, checked_stripes
from hpclaunch.storage.target import ChunkFile, checked_target, part_file

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Written", "to_netcdf"]

BLOCK = 128 * 2**20
"""Bytes that a block has at most after blocks were aligned with chunks."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    path : Path
    chunks : int
        Chunks that were made of Dask blocks.
    nbytes : int
        Their bytes, decoded.
    stored : int
        Their bytes in the file.
    plain : dict
        Why the other variables made of Dask blocks were written by xarray, by name.
    striping : Striping
        What was done about the file's stripes, and why.
    """

    path: Path
    chunks: int
    nbytes: int
    stored: int
    plain: dict[str, str]
    striping: Striping


def to_netcdf(
    dataset: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    encoding: Mapping[Hashable, Mapping[str, Any]] | None = None,
    access: Access | None = None,
    level: int | None = 4,
    unlimited_dims: str | Iterable[Hashable] | None = None,
    group: str | None = None,
    overwrite: bool = True,
    stripes: Wanted = "auto",
    memory: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    collective: bool = False,
) -> Written:
    """Write a dataset to a NetCDF-4 file, its Dask arrays in parallel.

    The values, attributes and encodings are those that ``dataset.to_netcdf(path,
    engine="netcdf4")`` writes; chunks and compression are chosen where no encoding says them.
    Blocks are encoded and deflated by Dask's threads, or by the workers of the cluster whose
    client is active, and written by this process. In this process as many blocks are held as Dask
    has threads, each with its encoded form; on a cluster three blocks per worker thread are under
    way, or all where blocks share most of their work. The file appears under its name when it is
    whole and on the disk.

    Variables that are not made of Dask blocks, strings, characters, enumerations, contiguous
    variables, other filters than shuffle, deflate and fletcher32, and values that netCDF rounds
    (``least_significant_digit``, ``significant_digits``) are written by xarray, in the same file.
    For a `DataTree`, for NetCDF-3 and for adding to a file use xarray's own ``to_netcdf``.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : str or path
        An existing file is replaced, in the end.
    encoding : mapping, optional
        As in xarray, by variable; ``chunksizes`` and compression given here are kept.
    access : {"map", "series", "all"}, optional
        What will be read most; see `hpclaunch.storage.chunking.chunk_shape`. None keeps the chunks
        that a variable had in its file and is ``all`` for the others.
    level : int, optional
        Of deflate, with shuffle, for variables whose encodings name no compression; 0: none. None
        leaves compression to the encodings.
    unlimited_dims : str or iterable, optional
        As in xarray.
    group : str, optional
        The group of the file to write to.
    overwrite : bool
        Whether an existing file may be replaced.
    stripes : "auto", None or (int, int)
        On Lustre: by the expected size, unless the directory's layout has several parts or as many
        targets; as the directory has it; or the number of targets (-1: all) and the bytes of a
        stripe. Where they cannot be set the file is written without, and the result says why.
    memory : int, optional
        Bytes that blocks may take while they are cut anew where they do not lie on chunks; by
        default half of what this machine or the cluster's workers have.
    progress : callable, optional
        Is called with the bytes (decoded) written and those of all.
    collective : bool
        Have the workers write, by collective MPI-IO: they must be ranks of one MPI job
        (``hpclaunch batch``, ``hpclaunch start --dask mpi``) whose h5py was built for MPI, and see
        the target's directory. HDF5 deflates, each rank its own chunks.

    Returns
    -------
    Written

    Raises
    ------
    StorageError
        If the target is a file that the dataset still reads from, as far as the encodings tell
        (``source``: of several files opened as one only the first is known), the disk is full,
        the blocks lie so across the chunks that cutting them anew would need too much memory, or
        the workers cannot write collectively as asked.
    FileNotFoundError, NotADirectoryError, PermissionError
        If the target's directory is missing, none or not writable.
    ValueError
        If `access` or `stripes` have no meaning, and where xarray raises it: names, attributes or
        encodings that NetCDF-4 does not know.
    """
    import xarray as xr

    if not isinstance(dataset, xr.Dataset):
        raise TypeError(f"to_netcdf writes an xarray.Dataset, not {type(dataset).__name__}")
    if access is not None:
        access = access_as(access)
    stripes = checked_stripes(stripes)
    target = checked_target(path, overwrite)
    _refuse_own_source(dataset, target)
    free = _unlimited(dataset, unlimited_dims)
    chosen, asked = with_encodings(dataset, encoding or {}, access, level, free)
    with part_file(target, overwrite) as part:
        striping = stripe_part(part, stripes, *expected_size(chosen, asked))
        crew = _crew(chosen, part) if collective else None
        skeleton = make_skeleton(part, chosen, asked, group=group, unlimited_dims=unlimited_dims)
        written = _fill(part, skeleton, group, free, memory, progress, crew)
    return Written(target, *written, striping)


def _crew(dataset: xr.Dataset, part: Path) -> Crew:
    variables = dataset.variables.values()
    with SETTINGS:
        client = cluster_client(one.data for one in variables if one.chunks is not None)
    return crew_of(client, part)


def _unlimited(dataset: xr.Dataset, given: str | Iterable[Hashable] | None) -> set[Hashable]:
    if given is None:
        given = dataset.encoding.get("unlimited_dims") or ()
    return {given} if isinstance(given, str) else set(given)


def _refuse_own_source(dataset: xr.Dataset, target: Path) -> None:
    if not target.exists():
        return
    for name, variable in dataset.variables.items():
        source = variable.encoding.get("source", dataset.encoding.get("source"))
        if variable._in_memory or not isinstance(source, str):
            continue
        if Path(source).resolve() == target:
            raise StorageError(
                f"{target} cannot be written: variable {name} of the dataset is read from it",
                hint="write to another name, or call dataset.load() first",
            )


def _fill(
    part: Path,
    skeleton: Skeleton,
    group: str | None,
    free: set[Hashable],
    memory: int | None,
    progress: Callable[[int, int], None] | None,
    crew: Crew | None,
) -> tuple[int, int, int, dict[str, str]]:
    """Fill what is pending; returns chunks, bytes decoded, bytes stored and what was left out."""
    jobs, plain = _sorted_out(part, skeleton, group, memory)
    reasons = {one.name: reason for one, reason in plain}
    try:
        fill_plainly([(one.source, one.target) for one, _ in plain])
    finally:
        skeleton.close()
    if crew is not None:
        _grown(part, jobs)
        crew.fill(part, jobs, progress)
    sink = ChunkFile(part)
    try:
        if crew is None:
            fill(jobs, sink, progress)
        stored = sum(sink.check(job.plan) for job in jobs)
        sink.extend(_lengths(skeleton, group, free))
        sink.close()
    finally:
        sink.abandon()
    chunks = sum(math.prod(job.plan.grid) for job in jobs)
    return chunks, sum(job.source.nbytes for job in jobs), stored, reasons


def _grown(part: Path, jobs: list[Job]) -> None:
    """Give variables with unlimited dimensions their shapes, before others write to them."""
    sink = ChunkFile(part)
    try:
        for job in jobs:
            sink.grow(job.plan)
    finally:
        sink.close()


def _sorted_out(
    part: Path, skeleton: Skeleton, group: str | None, memory: int | None
) -> tuple[list[Job], list[tuple[Pending, str]]]:
    """The variables whose chunks are made here, and the others with the reason."""
    jobs: list[Job] = []
    plain: list[tuple[Pending, str]] = []
    sink = ChunkFile(part)
    try:
        for one in skeleton.pending:
            path = "/".join(["", *_folders(group), one.name])
            plan = sink.plan(path, one.source.shape) or "it has another name"
            if one.lossy:
                plan = "netCDF rounds its values"
            elif not one.source.size:
                plan = "it is empty"
            if isinstance(plan, str):
                plain.append((one, plan))
            else:
                jobs.append(Job(one.source, plan))
    finally:
        sink.close()
    limit = memory if memory is not None else _memory(jobs)
    return [Job(_aligned(job, limit), job.plan) for job in jobs], plain


def _folders(group: str | None) -> list[str]:
    return [word for word in (group or "").split("/") if word]


def _lengths(skeleton: Skeleton, group: str | None, free: set[Hashable]) -> dict[str, int]:
    """The lengths of unlimited dimensions, by the path of their dimension scale."""
    found: dict[str, int] = {}
    for one in skeleton.pending:
        for dim, n in zip(one.dims, one.source.shape, strict=False):
            if dim in free:
                found["/".join(["", *_folders(group), str(dim)])] = n
    return found


def _aligned(job: Job, limit: int) -> Any:
    """The array in blocks of whole chunks.

    Raises
    ------
    StorageError
        If so many of its blocks meet in one of the new ones that they do not fit into memory.
    """
    source = job.source
    chunks = tuple(min(c, n) for c, n in zip(job.plan.chunks, source.shape, strict=True))
    blocks = aligned_blocks(source.chunks, chunks, job.plan.dtype.itemsize, BLOCK)
    if blocks == source.chunks:
        return source
    needed = job.plan.dtype.itemsize
    for old, new in zip(source.chunks, blocks, strict=True):
        needed *= min(sum(old), max(new) + 2 * max(old))
    if min(needed, source.nbytes) > limit:
        raise StorageError(
            f"{job.plan.path} comes in blocks of {source.chunksize} and is to be stored in chunks "
            f"of {job.plan.chunks}: cutting it anew needs about {needed / 2**30:.1f} GiB",
            hint="choose an access or chunksizes nearer to the blocks, or write it as it is and "
            "turn it with `hpclaunch data rechunk`, whose memory is bounded",
        )
    return source.rechunk(blocks)


def _memory(jobs: list[Job]) -> int:
    """Half of the memory of this machine, or of the workers of a cluster."""
    client = cluster_client(job.source for job in jobs)
    if client is not None:
        limits: list[int] = list(client.run(_memory_limit).values())
        if limits and all(limits):
            return sum(limits) // 2
    return cores.memory() // 2


def _memory_limit(dask_worker: Any) -> int:
    limit: int | None = dask_worker.memory_manager.memory_limit
    return limit or 0
