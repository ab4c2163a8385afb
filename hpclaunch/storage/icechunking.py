"""An archive as a virtual store of icechunk, written by VirtualiZarr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.errors import StorageError, UsageError
from hpclaunch.storage.manifests import Archive, Part, virtual_dataset
from hpclaunch.storage.zarrarrays import attributes, told, write_copied

if TYPE_CHECKING:
    from icechunk import IcechunkStore

__all__ = ["check_address", "hush", "open_store", "write_icechunk"]


def hush() -> None:
    """Let icechunk not warn of its local storage on every commit; there is one, by one process."""
    if find_spec("icechunk") is not None:
        import icechunk

        icechunk.set_logs_filter("error")


def check_address(url: str) -> None:
    """Raise `UsageError` if icechunk knows no store for such addresses."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("file", "s3", "gs", "http", "https"):
        raise UsageError(
            f"icechunk reads nothing from {scheme}://",
            hint="it takes s3://, gs://, http:// and https://; or write references of kerchunk",
        )
    if url.count("/") < 3 or url.endswith("://"):
        raise UsageError(
            "icechunk takes files of one bucket or one host",
            hint="make a store for each, or write references of kerchunk",
        )
    if scheme in ("http", "https") and ":" in rest.partition("/")[0]:
        raise UsageError(  # icechunk 1.1 reads http://host:8080/a from http://host/a
            "icechunk leaves out the port of web servers, and finds nothing there",
            hint="write references of kerchunk",
        )


def write_icechunk(path: Path, archive: Archive) -> None:
    """Make a repository with one commit on its branch ``main``.

    Parameters
    ----------
    path : Path
        A directory that is not there yet, or empty.
    archive : Archive
    """
    import icechunk
    import zarr

    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(
        icechunk.VirtualChunkContainer(archive.directory, _objects(archive))
    )
    repository = icechunk.Repository.create(
        icechunk.local_filesystem_storage(str(path)), config=config
    )
    session = repository.writable_session("main")
    for part in archive.parts:
        name = part.path.strip("/")
        if part.referenced:
            virtual_dataset(part, archive.urls).vz.to_icechunk(
                session.store, group=name or None, last_updated_at=_newest(archive)
            )
        group = zarr.open_group(session.store, path=name, mode="a", zarr_format=3)
        _finish(group, part)
    session.commit("written by hpclaunch data virtualize")


def open_store(path: Path, archive: Archive) -> IcechunkStore:
    """The store as readers open it."""
    import icechunk

    repository = icechunk.Repository.open(
        icechunk.local_filesystem_storage(str(path)),
        authorize_virtual_chunk_access={archive.directory: None},
    )
    return repository.readonly_session("main").store


def _finish(group: Any, part: Part) -> None:
    """Copied variables and chunks, and attributes as they are in the files."""
    for one in part.referenced:
        array = group[one.name]
        with _about(part, one.name):
            array.attrs.put(attributes(one.attrs, one.dims, one.dtype, 3))
        for _, region, file, inside in one.copied():
            array[region] = part.read(one.name, file, inside)
    for other in part.copied:
        with _about(part, other.name):
            write_copied(group, other, 3)
    group.attrs.put(told(part.attrs, 3))


@contextmanager
def _about(part: Part, name: str) -> Iterator[None]:
    """Name the variable in what is raised."""
    try:
        yield
    except StorageError as error:
        where = f"variable {part.path.rstrip('/')}/{name}"
        raise StorageError(f"{where}: {error.what}", hint=error.hint) from error


def _objects(archive: Archive) -> Any:
    """Where icechunk finds the files."""
    import icechunk

    scheme, _, rest = archive.directory.partition("://")
    if scheme == "file":
        return icechunk.local_filesystem_store(rest)
    if scheme == "s3":
        endpoint = archive.store.get("endpoint_url")
        if endpoint is None:
            return icechunk.s3_store(**archive.store)
        plain = endpoint.startswith("http://")
        return icechunk.s3_store(
            **archive.store, s3_compatible=True, force_path_style=True, allow_http=plain
        )
    if scheme == "gs":
        return icechunk.gcs_store()
    return icechunk.http_store()


def _newest(archive: Archive) -> datetime:
    """Files that were written after this are refused by icechunk, which counts whole seconds."""
    moment = datetime.fromtimestamp(archive.newest, UTC) if archive.newest else datetime.now(UTC)
    return moment.replace(microsecond=0) + timedelta(seconds=1)
