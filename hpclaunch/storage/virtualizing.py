"""Files as one virtual Zarr archive: their chunks stay where they are, and are referred to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpclaunch.errors import ChangedFile, StorageError
from hpclaunch.storage.chunkrefs import Referenced
from hpclaunch.storage.layout import FileIndex
from hpclaunch.storage.manifests import Archive
from hpclaunch.storage.mfdataset import files_of, indexes_of
from hpclaunch.storage.remote import Location, Remote, each, located, name_of
from hpclaunch.storage.source import identify
from hpclaunch.storage.virtualforms import (
    Format,
    check_installed,
    form_part,
    form_target,
    format_of,
)
from hpclaunch.storage.virtualparts import SMALL, in_a_row, parts_of
from hpclaunch.storage.virtualurls import (
    check_addresses,
    check_prefix,
    directory_of,
    store_of,
    urls_of,
)
from hpclaunch.storage.zarrcodecs import encoded

__all__ = ["Virtualized", "virtualize"]

MOST = 64 << 20
"""Bytes of values that are copied into the archive."""


@dataclass(frozen=True)
class Virtualized:
    """What was written.

    Attributes
    ----------
    path : Path
    format : str
    files : int
        That it refers to.
    dim : str or None
        Along which they follow each other.
    directory : str
        The common beginning of their addresses.
    referenced : tuple of str
        The variables whose chunks are referred to, with their groups.
    copied : tuple of str
        Those whose values were copied.
    chunks : int
        References.
    nbytes, stored : int
        Bytes that they refer to, decoded and stored.
    """

    path: Path
    format: str
    files: int
    dim: str | None
    directory: str
    referenced: tuple[str, ...]
    copied: tuple[str, ...]
    chunks: int
    nbytes: int
    stored: int


def virtualize(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    format: Format | None = None,
    concat_dim: str | None = None,
    url_prefix: str | None = None,
    copy: int = SMALL,
    overwrite: bool = False,
    processes: int | None = None,
    progress: Callable[[str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Virtualized:
    """Write references to the chunks of NetCDF-4 files, by which they are read as Zarr.

    Places come from the files' indexes, no file is scanned a second time. Coordinates, variables
    of a few kilobytes, and those up to 1 MiB that Zarr cannot refer to, are copied with their
    values. Attributes lose their dtypes, as all attributes of Zarr do: where ``scale_factor`` is a
    float32, values are decoded to float64.

    Parameters
    ----------
    paths : str, path or iterable of these
        A pattern such as ``"data/*.nc"``, or the files; or URLs of ``s3://``, ``https://`` and
        ``http://``.
    output : str or path
        A file for ``kerchunk-json``, else a directory. It appears when it is whole.
    format : {"kerchunk-json", "kerchunk-parquet", "icechunk"}, optional
        By default the suffix of `output` says it: ``.json``, ``.parq`` or ``.parquet``,
        ``.icechunk``.
    concat_dim : str, optional
        The dimension along which files follow each other, in the order in which they are given.
        By default it is the one whose coordinate differs, and files are put in its order.
    url_prefix : str, optional
        Where the files lie for those who read by the references, such as ``s3://bucket/dir/``: it
        replaces the directory that they have in common.
    copy : int
        Bytes up to which a coordinate, or another variable whose values the index has, is copied
        rather than referred to.
    overwrite : bool
        Whether an existing output of the same kind is replaced.
    processes : int, optional
        That make missing indexes.
    progress : callable, optional
        Is called with a line of words.
    storage_options : mapping, optional
        For fsspec's file system, with URLs. What is no secret among them, endpoint and region, is
        kept in an icechunk store for its readers; nothing is kept in references of kerchunk.

    Returns
    -------
    Virtualized

    Raises
    ------
    StorageError
        If the files do not continue each other, or differ in the chunks or filters of a variable;
        if one has something that Zarr cannot tell and that is too large to be copied; if `output`
        exists; if an address has a password or a query; or if a package is missing.
    ChangedFile
        If a file changed meanwhile.
    FileNotFoundError, PermissionError
        If a file is missing or not readable, or the output's directory.
    UsageError
        If the format is not known, or the prefix is no address.
    """
    form = format_of(output, format)
    check_installed(form)
    target = form_target(output, form, overwrite)
    tell = progress or (lambda _: None)
    if url_prefix is not None:
        check_prefix(url_prefix)
    places = _places(paths, storage_options)
    indexes, dim = in_a_row(_indexes(places, processes, tell), concat_dim)
    places = _in_order(places, indexes)
    store = store_of(storage_options) if url_prefix is None else {}
    archive = _archive(indexes, places, dim, url_prefix, copy, store)
    _check_form(archive, form)
    _check_copies(archive, form, indexes)
    with form_part(target, form, overwrite) as part:
        tell(f"writing {sum(map(_references, _all(archive)))} references")
        _write(part, form, archive)
        _check_unchanged(indexes, places)
    return Virtualized(
        target,
        form,
        len(indexes),
        dim,
        archive.directory,
        tuple(f"{one.path.rstrip('/')}/{v.name}" for one in archive.parts for v in one.referenced),
        tuple(f"{one.path.rstrip('/')}/{v.name}" for one in archive.parts for v in one.copied),
        sum(map(_references, _all(archive))),
        sum(_references(one) * one.chunk_bytes for one in _all(archive)),
        sum(int(one.sizes.sum(dtype=np.uint64)) for one in _all(archive)),
    )


def _check_form(archive: Archive, form: str) -> None:
    """Whether the format can hold it at all."""
    if form == "icechunk":
        from hpclaunch.storage.icechunking import check_address

        check_address(archive.directory)
    if form == "kerchunk-parquet" and len(archive.parts) > 1:
        groups = ", ".join(one.path for one in archive.parts[1:])
        raise StorageError(
            f"kerchunk's parquet holds no groups, and there are {groups}",
            hint="give --format kerchunk-json or icechunk",
        )


def _places(paths: Any, options: Mapping[str, Any] | None) -> list[Location]:
    files = files_of(paths, options)
    check_addresses(files)
    return [located(one, options) for one in files]


def _in_order(places: Sequence[Location], row: Sequence[FileIndex]) -> list[Location]:
    """Where the files of a row are read."""
    remote = {one.name: one for one in places if isinstance(one, Remote)}
    return [remote.get(one.identity.path, one.identity.path) for one in row]


def _indexes(
    places: list[Location], processes: int | None, tell: Callable[[str], None]
) -> list[FileIndex]:
    found = indexes_of(
        places, processes, lambda done, every, _: tell(f"{done} of {every} files indexed")
    )
    indexes = [one for one in found if one is not None]
    if len(indexes) < len(found):
        raise StorageError(
            f"{name_of(places[found.index(None)])} is no NetCDF-4 or HDF5 file",
            hint="kerchunk virtualizes NetCDF-3; a Zarr store is one already",
        )
    return indexes


def _archive(
    row: Sequence[FileIndex],
    places: Sequence[Location],
    dim: str | None,
    url_prefix: str | None,
    copy: int,
    store: dict[str, Any],
) -> Archive:
    """What the files hold, in their order."""
    urls = urls_of([one.identity.path for one in row], url_prefix)
    written = [one.identity.mtime_ns for one in row]  # 0: a web server that does not tell
    newest = max(written) / 1e9 if url_prefix is None and all(written) else 0.0
    return Archive(parts_of(row, places, dim, copy), urls, directory_of(urls), newest, store)


def _all(archive: Archive) -> Iterator[Referenced]:
    return (one for part in archive.parts for one in part.referenced)


def _references(one: Referenced) -> int:
    return int((one.files >= 0).sum())


def _check_copies(archive: Archive, form: str, indexes: Sequence[FileIndex]) -> None:
    """Refuse to copy more than a small part of the data."""
    from hpclaunch.storage.kerchunkrefs import unexpressed

    total = sum(each.values.nbytes for part in archive.parts for each in part.copied)
    for one in _all(archive):
        nbytes = int(one.apart.sum()) * one.chunk_bytes
        empty = int(unexpressed(one, form).sum())
        if empty:
            whole = np.full(one.chunks, one.fill, one.dtype).tobytes()
            nbytes += empty * len(encoded(whole, one.codecs))
        total += nbytes
        if nbytes and total > MOST:
            raise StorageError(
                f"{indexes[0].identity.path}, variable {one.name}: {int(one.apart.sum())} of its "
                f"chunks have a pipeline of their own and {empty} were never written and cannot be "
                f"told so; copying them takes {nbytes / 2**20:.0f} MiB",
                hint="--format icechunk needs no copies of chunks that were never written"
                if empty
                else "`hpclaunch data rechunk` writes the file anew",
            )
    if total > MOST:
        raise StorageError(
            f"{total / 2**20:.0f} MiB of coordinates and small variables would be copied",
            hint="virtualize fewer files at once",
        )


def _write(part: Path, form: str, archive: Archive) -> None:
    """Write the archive, and read back what it tells."""
    from hpclaunch.storage.virtualcheck import check

    if form == "icechunk":
        from hpclaunch.storage.icechunking import write_icechunk

        write_icechunk(part, archive)
    else:
        from hpclaunch.storage.kerchunkrefs import references, write_json, write_parquet

        refs = references(archive, form)
        if form == "kerchunk-json":
            write_json(part, refs)
        else:
            write_parquet(part, refs, max((one.files.size for one in _all(archive)), default=1))
    check(part, form, archive)


def _check_unchanged(indexes: Sequence[FileIndex], places: Sequence[Location]) -> None:
    for one, now in zip(indexes, each(identify, places), strict=True):
        if now != one.identity:
            raise ChangedFile(f"{one.identity.path} changed while references to it were written")
