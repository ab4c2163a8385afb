"""Many files as one dataset, opened from their indexes."""

from __future__ import annotations

import glob
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpclaunch.errors import StorageError, UsageError
from hpclaunch.storage import sidecar
from hpclaunch.storage.blocks import Machine
from hpclaunch.storage.chunking import Access
from hpclaunch.storage.cores import cores, memory
from hpclaunch.storage.join import Apart, join
from hpclaunch.storage.layout import FileIndex, Group
from hpclaunch.storage.many import index_many
from hpclaunch.storage.remote import Location, each, is_url, matching, name_of, places_of
from hpclaunch.storage.row import Row, keep, kept, row_of
from hpclaunch.storage.rowchunks import row_chunks

if TYPE_CHECKING:
    from xarray import Dataset, Variable

__all__ = ["files_of", "here", "indexes_of", "open_mfdataset"]

_FEW = 8
"""Files without an index that are looked at here rather than by processes of their own."""


def open_mfdataset(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    concat_dim: str | None = None,
    chunks: Mapping[str, Any] | int | str | None = "tuned",
    access: Access = "all",
    machine: Machine | None = None,
    group: str | None = None,
    processes: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Dataset:
    """Open many files as one dataset.

    Files that continue each other along one dimension, with the same variables, are put in a row
    from their indexes alone; nothing is read of a file whose index is there. Coordinates and small
    variables that do not have the dimension are compared, larger ones are those of the first file;
    so are all attributes. Where files do not fit together like that, xarray's `open_mfdataset`
    combines them with engine ``hpclaunch``.

    Parameters
    ----------
    paths : str, path or iterable of these
        A pattern such as ``"data/*.nc"``, or the files; also ``s3://``, and ``https://`` without
        patterns.
    concat_dim : str, optional
        The dimension along which files follow each other, in the order in which they are given.
        By default it is the one whose coordinate differs, and files are put in its order.
    chunks : mapping, int, "auto", "tuned" or None, optional
        As in xarray. ``"tuned"``: blocks of whole HDF5 chunks of one file. None: no Dask; a
        selection is then read when its values are asked for.
    access : {"all", "map", "series"}, optional
        What the dataset is read for; tuned chunks are made for it.
    machine : Machine, optional
        The workers that read; by default those of the current `distributed.Client`, or this
        process.
    group : str, optional
    processes : int, optional
        That make missing indexes.
    progress : callable, optional
        As of `index_many`.
    storage_options : mapping, optional
        For fsspec's file system, with URLs.
    **options
        Decoding options of `xarray.open_dataset`, such as ``decode_times``. Any other option of
        `xarray.open_mfdataset`, such as ``compat`` or ``preprocess``, has xarray combine the files.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StorageError
        If a file cannot be indexed.
    UsageError
        If there are no paths.
    """
    files = files_of(paths, storage_options)
    if storage_options:
        options["backend_kwargs"] = {"storage_options": dict(storage_options)}
    if set(options) - _DECODING - {"backend_kwargs"}:
        return _by_xarray(files, concat_dim, chunks, group, options)
    place = "/" + (group or "").strip("/")
    places = places_of(files, storage_options)
    row = kept(places, place, concat_dim)
    if row is None:
        indexes = indexes_of(places, processes, progress)
        row = _new_row(places, indexes, place, concat_dim)
    if row is None:
        return _by_xarray(files, concat_dim, chunks, group, options)
    options.pop("backend_kwargs", None)
    return _opened(row, chunks, (access, machine or here()), options)


_DECODING = {
    *("mask_and_scale", "decode_times", "concat_characters", "decode_coords", "drop_variables"),
    *("use_cftime", "decode_timedelta"),
}

_OF_THE_FIRST = {"compat": "override", "coords": "minimal", "data_vars": "minimal"}
"""What does not have the dimension of the row is taken from the first file, by xarray too."""


def files_of(paths: Any, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """The absolute paths of a pattern, a path or several of them; or URLs and patterns of S3."""
    if isinstance(paths, str) and is_url(paths):
        return matching(paths, storage_options)
    if isinstance(paths, str | os.PathLike):
        pattern = os.fspath(paths)
        found = sorted(glob.glob(os.path.expanduser(pattern)))  # noqa: PTH111, PTH207
        if not found:
            raise FileNotFoundError(f"no files match {pattern!r}")
        paths = found
    files = []
    for one in map(os.fspath, paths):
        several = one.startswith("s3://") and "*" in one
        files += matching(one, storage_options) if several else [_absolute(one)]
    if not files:
        raise UsageError("there are no files to open", hint="give paths or a pattern")
    return files


def _absolute(path: str) -> str:
    return path if is_url(path) else os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111


def indexes_of(
    places: Sequence[Location],
    processes: int | None,
    progress: Callable[[int, int, str], None] | None,
) -> list[FileIndex | None]:
    """The files' indexes; None for a file that is not HDF5."""
    known = each(sidecar.cached, places)
    missing = [place for place, index in zip(places, known, strict=True) if index is None]
    failed: dict[str, str] = {}
    if len(missing) > _FEW:
        failed = index_many(missing, processes=processes, progress=progress).failed
    from hpclaunch.storage.scan import kind_of

    found = []
    for place, index in zip(places, known, strict=True):
        if index is None and kind_of(place) == "hdf5":
            if (name := name_of(place)) in failed:
                raise StorageError(failed[name], hint="`hpclaunch data inspect FILE` tells more")
            index = sidecar.load(place)
        found.append(index)
    return found


def here() -> Machine:
    """What reads: the workers of the current Dask client, or this process."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            workers = distributed.get_client().scheduler_info(n_workers=-1)["workers"].values()
        except (ValueError, TypeError):
            workers = ()
        if workers:
            one = min(workers, key=lambda worker: worker["memory_limit"] or memory())
            return Machine(len(workers), one["nthreads"], one["memory_limit"] or memory())
    return Machine(1, cores(), memory())


def _group(index: FileIndex, place: str) -> Group:
    found = index.groups.get(place)
    if found is None:
        raise StorageError(
            f"{index.identity.path} has no group {place}",
            hint=f"its groups are {', '.join(index.groups)}",
        )
    return found


def _new_row(
    files: Sequence[Location], indexes: Sequence[FileIndex | None], place: str, dim: str | None
) -> Row | None:
    """The row that files make, kept for the next time; None if they make none."""
    known = [one for one in indexes if one is not None]
    if len(known) < len(indexes):
        return None
    try:
        groups = [_group(one, place) for one in known]
        row = row_of(files, known, groups, join(groups, dim))
    except Apart as why:
        warnings.warn(f"xarray opens and combines the files one by one: {why}", stacklevel=3)
        return None
    keep(row, files, place, dim)
    return row


def _opened(
    row: Row, chunks: Any, reader: tuple[Access, Machine], options: dict[str, Any]
) -> Dataset:
    """The dataset of a row; Dask arrays have names that say of which files, decoded how."""
    from hpclaunch.storage.joinedstore import JoinedDataStore, decoded, undivided

    store = JoinedDataStore(row)
    if chunks is None:
        return undivided(store, options)
    from dask.base import tokenize

    from hpclaunch.storage.divided import divide

    token = (row.token, row.joined.dim, sorted(options.items(), key=str))
    if not (isinstance(chunks, str) and chunks == "tuned"):
        whole = undivided(store, options)
        return whole.chunk(chunks, name_prefix="hpclaunch-", token=tokenize(*token))
    lengths: dict[str, tuple[int, ...]] = {dim: (n,) for dim, n in row.group.dims.items()}
    lengths[row.joined.dim] = row.joined.lengths

    def divided(variables: dict[Any, Variable]) -> dict[Any, Variable]:
        items = {str(name): one.dtype.itemsize for name, one in variables.items()}
        found = row_chunks(row.group.variables, lengths, *reader, items)
        return divide(variables, found, tokenize(*token, str(found)))

    return decoded(store, {k: v for k, v in options.items() if v is not None}, divided)


def _by_xarray(
    files: list[str],
    concat_dim: str | None,
    chunks: Any,
    group: str | None,
    options: dict[str, Any],
) -> Dataset:
    import xarray

    if options.get("parallel") and options.get("engine") == "netcdf4":
        raise StorageError(
            "open_mfdataset(parallel=True) crashes engine netcdf4 where Dask uses threads",
            hint="leave engine= out, or open with parallel=False",
        )
    if group is not None:
        options = {**options, "group": group}
    how = {"combine": "nested", "concat_dim": concat_dim} if concat_dim else {}
    chunks = {} if isinstance(chunks, str) and chunks == "tuned" else chunks
    return xarray.open_mfdataset(
        files, **{"engine": "hpclaunch", "chunks": chunks, **_OF_THE_FIRST, **how, **options}
    )
