"""What each rank of an MPI job does to write one file together with the others, by parallel HDF5.

These functions run on all workers at the same time, by `distributed.Client.run`. What is collective
is done in a thread of its own: the worker goes on with its tasks and speaks with its scheduler.
Before each collective call of HDF5 the ranks agree that none has failed, so that an error on one of
them becomes an error on all and leaves nobody waiting.
"""

from __future__ import annotations

import asyncio
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError

__all__ = ["Facts", "OtherRank", "Piece", "facts", "join", "leave", "verify", "write"]

_TAG = 20011
"""Of the message by which the communicator is made; any number will do."""


class OtherRank(Exception):
    """Another rank has failed; its own error says why."""


@dataclass(frozen=True)
class Facts:
    """What a worker is to MPI and to HDF5.

    Attributes
    ----------
    rank : int
        In MPI's world; -1 where no MPI runs in the worker's process.
    size : int
        Of that world.
    threads : bool
        Whether several threads may call MPI.
    parallel : bool
        Whether h5py was built for MPI.
    hdf5 : tuple of int
        The version of h5py's HDF5 library.
    writable : bool
        Whether the file is there and may be written.
    """

    rank: int
    size: int
    threads: bool
    parallel: bool
    hdf5: tuple[int, ...]
    writable: bool


@dataclass(frozen=True)
class Piece:
    """A part of a block that one rank writes in one call.

    Attributes
    ----------
    key : object
        Of the block among the worker's data.
    inside : tuple of slice
        What of the block.
    origin : tuple of int
        Where its first element goes in the variable.
    """

    key: Any
    inside: tuple[slice, ...]
    origin: tuple[int, ...]


def facts(path: str) -> Facts:
    """What this worker is. MPI is not initialised by asking."""
    rank, size, threads = -1, 0, False
    if "mpi4py.MPI" in sys.modules:
        from mpi4py import MPI

        if MPI.Is_initialized() and not MPI.Is_finalized():
            rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
            threads = MPI.Query_thread() >= MPI.THREAD_MULTIPLE
    try:
        import h5py
    except ImportError:
        parallel, hdf5 = False, ()
    else:
        parallel, hdf5 = bool(h5py.get_config().mpi), h5py.version.hdf5_version_tuple
    return Facts(rank, size, threads, parallel, hdf5, os.access(path, os.R_OK | os.W_OK))


class _Shared:
    """The file as one rank has it open. All methods are collective.

    Parameters
    ----------
    part : str
    ranks : sequence of int
        Of the world: all that write, the same on each of them.
    """

    def __init__(self, part: str, ranks: Sequence[int]) -> None:
        from mpi4py import MPI
        from xarray.backends.locks import HDF5_LOCK

        self._part = part
        self._library: Any = HDF5_LOCK
        self._file: Any = None
        self._datasets: dict[str, Any] = {}
        self._transfer: Any = None
        self._written: list[tuple[str, tuple[slice, ...], int]] = []
        group = MPI.COMM_WORLD.Get_group()
        chosen = group.Incl(list(ranks))
        self._comm: Any = MPI.COMM_WORLD.Create_group(chosen, _TAG)
        chosen.Free()
        group.Free()

    def open(self, paths: Sequence[str]) -> None:
        """Open the file and its datasets, by which HDF5 gives them their room."""
        self.together(self._open)
        for path in paths:
            self.together(self._open_dataset, path)

    def _open(self) -> None:
        import h5py

        self._file = h5py.File(self._part, "r+", driver="mpio", comm=self._comm)
        self._transfer = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        self._transfer.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)

    def _open_dataset(self, path: str) -> None:
        self._datasets[path] = self._file[path]

    def together(
        self, act: Callable[..., None], *arguments: Any, trouble: Exception | None = None
    ) -> None:
        """Do something collective if no rank is in trouble, and agree on how it went.

        Raises
        ------
        Exception
            This rank's own trouble.
        OtherRank
            If only others are in trouble.
        """
        self._agree(trouble)
        try:
            with self._library:
                act(*arguments)
        except Exception as error:
            trouble = error
        self._agree(trouble)

    def _agree(self, trouble: Exception | None) -> None:
        from mpi4py import MPI

        well = self._comm.allreduce(int(trouble is None), op=MPI.MIN)
        if trouble is not None:
            raise trouble
        if not well:
            raise OtherRank("another rank failed")

    def put(self, path: str, piece: Piece | None, block: Any) -> None:
        """Write a piece, or take part without one."""
        from h5py import h5s

        target = self._datasets[path].id
        there = target.get_space()
        if piece is None:
            values = np.zeros(1, self._datasets[path].dtype)
            here = h5s.create_simple(values.shape)
            here.select_none()
            there.select_none()
        else:
            values = np.ascontiguousarray(block[piece.inside])
            here = h5s.create_simple(values.shape)
            there.select_hyperslab(piece.origin, values.shape)
        target.write(here, there, values, dxpl=self._transfer)
        if piece is not None:
            ends = zip(piece.origin, values.shape, strict=True)
            region = tuple(slice(start, start + length) for start, length in ends)
            self._written.append((path, region, _checksum(values)))

    def verify(self) -> None:
        """Read back what this rank has written; not collective, once the file is closed.

        Raises
        ------
        StorageError
            If something else is found.
        """
        import h5py

        with self._library, h5py.File(self._part, "r", locking=False) as file:
            for path, region, checksum in self._written:
                if not _holds(file[path], region, checksum):
                    raise StorageError(
                        f"{path} is not in {self._part} as it was written",
                        hint="the disk may be full: MPI-IO does not always tell",
                    )

    def close(self, whole: bool) -> None:
        """Close the file; where it is whole, what this node has of it goes to the disk."""
        with self._library:
            self._datasets.clear()
            if self._file is not None:
                if whole:
                    self._file.flush()
                self._file.close()
        self._comm.Free()
        if whole:
            descriptor = os.open(self._part, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _holds(dataset: Any, region: tuple[slice, ...], checksum: int) -> bool:
    try:
        return _checksum(np.ascontiguousarray(dataset[region])) == checksum
    except (OSError, RuntimeError):  # it cannot be decoded
        return False


def _checksum(values: np.ndarray) -> int:
    return zlib.crc32(values.reshape(-1).view(np.uint8).data)


class _Seat:
    """A file that is being written, and the thread that does so."""

    file: _Shared

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, "collective-write")

    async def does(self, act: Callable[..., None], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self.thread, act, *arguments)


_SEATS: dict[str, _Seat] = {}
"""By a word that all ranks know."""


async def join(word: str, part: str, ranks: Sequence[int], paths: Sequence[str]) -> None:
    """Open a file together with the other ranks.

    Parameters
    ----------
    word : str
        By which the other functions know the file.
    part : str
    ranks : sequence of int
        See `_Shared`.
    paths : sequence of str
        The datasets that will be written, in one order on all ranks.
    """
    seat = _SEATS[word] = _Seat()

    def act() -> None:
        seat.file = _Shared(part, ranks)
        seat.file.open(paths)

    await seat.does(act)


async def write(word: str, mine: Sequence[tuple[str, Piece | None]], dask_worker: Any) -> None:
    """Write blocks that lie on this worker.

    Parameters
    ----------
    word : str
    mine : sequence of (str, Piece or None)
        For each collective call the variable's path, the same on all ranks, and what this one has.
    dask_worker : distributed.Worker
    """
    blocks: dict[Any, Any] = {}
    trouble: Exception | None = None
    try:
        for _, piece in mine:
            if piece is not None:
                blocks[piece.key] = dask_worker.data[piece.key]
    except Exception as error:
        trouble = error

    def act() -> None:
        for path, piece in mine:
            block = None if piece is None else blocks.get(piece.key)
            _SEATS[word].file.together(_SEATS[word].file.put, path, piece, block, trouble=trouble)

    await _SEATS[word].does(act)


async def leave(word: str, whole: bool) -> None:
    """Close a file together with the other ranks, once what is under way has ended.

    It is forgotten unless it is whole, and then to be verified.
    """
    seat = _SEATS.get(word) if whole else _SEATS.pop(word, None)
    if seat is not None:
        try:
            await seat.does(seat.file.close, whole)
        finally:
            if not whole:
                seat.thread.shutdown(wait=False)


async def verify(word: str) -> None:
    """Read back what this rank has written, and forget the file."""
    seat = _SEATS.pop(word)
    try:
        await seat.does(seat.file.verify)
    finally:
        seat.thread.shutdown(wait=False)
