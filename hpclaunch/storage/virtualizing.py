"""Files as one virtual Zarr archive: their chunks stay where they are, and are referred to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpclaunch.errors import ChangedFile, StorageError, UsageError
from hpclaunch.storage.chunkrefs import Referenced
from hpclaunch.storage.layout import FileIndex
from hpclaunch.storage.manifests import Archive
from hpclaunch.storage.mfdataset import files_of, indexes_of
from hpclaunch.storage.remote import refuse_urls
from hpclaunch.storage.source import identify
from hpclaunch.storage.target import checked_target, part_file
from hpclaunch.storage.targetdir import checked_directory, part_directory
from hpclaunch.storage.virtualparts import SMALL, in_a_row, parts_of
from hpclaunch.storage.virtualurls import check_prefix, directory_of, urls_of
from hpclaunch.storage.zarrcodecs import encoded

__all__ = ["FORMATS", "Virtualized", "format_of", "virtualize"]

Format = Literal["kerchunk-json", "kerchunk-parquet", "icechunk"]

FORMATS: dict[str, tuple[str, ...]] = {
    "kerchunk-json": (".json",),
    "kerchunk-parquet": (".parq", ".parquet"),
    "icechunk": (".icechunk",),
}
"""What can be written, and the suffixes that say so."""

MOST = 64 << 20
"""Bytes of values that are copied into the archive."""

_NEEDED = {
    "kerchunk-json": ("virtualizarr", "zarr", "kerchunk"),
    "kerchunk-parquet": ("virtualizarr", "zarr", "kerchunk", "fastparquet"),
    "icechunk": ("virtualizarr", "zarr", "icechunk"),
}


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
) -> Virtualized:
    """Write references to the chunks of NetCDF-4 files, by which they are read as Zarr.

    Places come from the files' indexes, no file is scanned a second time. Coordinates, variables
    of a few kilobytes, and those up to 1 MiB that Zarr cannot refer to, are copied with their
    values. Attributes lose their dtypes, as all attributes of Zarr do: where ``scale_factor`` is a
    float32, values are decoded to float64.

    Parameters
    ----------
    paths : str, path or iterable of these
        A pattern such as ``"data/*.nc"``, or the files.
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

    Returns
    -------
    Virtualized

    Raises
    ------
    StorageError
        If the files do not continue each other, or differ in the chunks or filters of a variable;
        if one has something that Zarr cannot tell and that is too large to be copied; if `output`
        exists; or if a package is missing.
    ChangedFile
        If a file changed meanwhile.
    FileNotFoundError, PermissionError
        If a file is missing or not readable, or the output's directory.
    UsageError
        If the format is not known, or the prefix is no address.
    """
    form = format_of(output, format)
    _check_installed(form)
    target = _target(output, form, overwrite)
    tell = progress or (lambda _: None)
    if url_prefix is not None:
        check_prefix(url_prefix)
    indexes, dim = in_a_row(_indexes(_files(paths), processes, tell), concat_dim)
    archive = _archive(indexes, dim, url_prefix, copy)
    _check_form(archive, form)
    _check_copies(archive, form, indexes)
    with _part(target, form, overwrite) as part:
        tell(f"writing {sum(map(_references, _all(archive)))} references")
        _write(part, form, archive)
        _check_unchanged(indexes)
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


def format_of(output: str | os.PathLike[str], format: str | None) -> str:
    """The format that is named, or that the suffix says.

    Raises
    ------
    UsageError
        If it is not known.
    """
    if format is not None:
        if format not in FORMATS:
            raise UsageError(f"there is no format {format!r}", hint=f"it is {', '.join(FORMATS)}")
        return format
    suffix = Path(os.fspath(output)).suffix
    for name, suffixes in FORMATS.items():
        if suffix in suffixes:
            return name
    raise UsageError(
        f"the suffix {suffix!r} of {os.fspath(output)} says no format",
        hint=f"give --format: {', '.join(FORMATS)}",
    )


def _check_installed(form: str) -> None:
    missing = [name for name in _NEEDED[form] if find_spec(name) is None]
    if missing:
        raise StorageError(
            f"{form} is written with {', '.join(missing)}, which this Python does not have",
            hint="pip install 'hpclaunch[virtual]'",
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


def _files(paths: Any) -> list[str]:
    files = files_of(paths)
    refuse_urls(
        files,
        " is a URL, and references are made from files",
        "make them where the files lie; --url-prefix names where they will be read",
    )
    return files


def _indexes(
    files: list[str], processes: int | None, tell: Callable[[str], None]
) -> list[FileIndex]:
    found = indexes_of(
        files, processes, lambda done, every, _: tell(f"{done} of {every} files indexed")
    )
    indexes = [one for one in found if one is not None]
    if len(indexes) < len(found):
        raise StorageError(
            f"{files[found.index(None)]} is no NetCDF-4 or HDF5 file",
            hint="kerchunk virtualizes NetCDF-3; a Zarr store is one already",
        )
    return indexes


def _archive(
    row: Sequence[FileIndex], dim: str | None, url_prefix: str | None, copy: int
) -> Archive:
    """What the files hold, in their order."""
    urls = urls_of([one.identity.path for one in row], url_prefix)
    local = url_prefix is None and not any("://" in one.identity.path for one in row)
    newest = max(one.identity.mtime_ns for one in row) / 1e9 if local else 0.0
    return Archive(parts_of(row, dim, copy), urls, directory_of(urls), newest)


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


def _ours(form: str) -> Callable[[Path], bool]:
    if form == "icechunk":
        return lambda path: (path / "refs").is_dir() and (path / "snapshots").is_dir()
    return lambda path: (path / ".zmetadata").is_file()


def _target(output: str | os.PathLike[str], form: str, overwrite: bool) -> Path:
    if form == "kerchunk-json":
        return checked_target(output, overwrite)
    return checked_directory(output, overwrite, _ours(form))


@contextmanager
def _part(target: Path, form: str, overwrite: bool) -> Iterator[Path]:
    way = part_file if form == "kerchunk-json" else part_directory
    with way(target, overwrite) as part:
        yield part


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


def _check_unchanged(indexes: Sequence[FileIndex]) -> None:
    for one in indexes:
        if identify(one.identity.path) != one.identity:
            raise ChangedFile(f"{one.identity.path} changed while references to it were written")
