"""`hpclaunch data virtualize`: references by which files are read as Zarr."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hpclaunch.cli.data import check_installed
from hpclaunch.cli.data_secrets import read_options
from hpclaunch.cli.tell import Progress
from hpclaunch.errors import StorageError, UsageError
from hpclaunch.shell import printable

if TYPE_CHECKING:
    from hpclaunch.storage.virtualizing import Virtualized

__all__ = ["virtualize"]

_EVERY = 10
"""One line for so many where there is no terminal."""


def virtualize(arguments: argparse.Namespace) -> int:
    """Write references to FILES to --output."""
    if arguments.processes is not None and arguments.processes < 1:
        raise UsageError(f"--processes {arguments.processes}: at least 1")
    options = read_options(arguments.storage_options, arguments.files)
    check_installed()
    from hpclaunch.storage.icechunking import hush
    from hpclaunch.storage.interrupts import interrupting
    from hpclaunch.storage.virtualforms import format_of
    from hpclaunch.storage.virtualizing import virtualize as write_references

    if format_of(arguments.output, arguments.format) == "icechunk":
        hush()
    with interrupting(), Progress() as progress:
        try:
            done = write_references(
                arguments.files,
                arguments.output,
                format=arguments.format,
                concat_dim=arguments.concat_dim,
                url_prefix=arguments.url_prefix,
                overwrite=arguments.overwrite,
                processes=arguments.processes,
                progress=_some(progress),
                storage_options=options,
            )
        except OSError as error:
            raise StorageError(
                f"{error.filename or arguments.output}: {error.strerror or error}",
                hint="are these their names, and may you read and write there?",
            ) from error
    print(json.dumps(_fields(done)) if arguments.json else "\n".join(_lines(done)))
    return 0


def _some(progress: Progress) -> Callable[[str], None]:
    """Every line on a terminal; a few of those about files elsewhere."""
    count = 0

    def tell(line: str) -> None:
        nonlocal count
        count += 1
        if sys.stderr.isatty() or not line.endswith("indexed") or count % _EVERY == 1:
            progress(line)

    return tell


def _fields(done: Virtualized) -> dict[str, Any]:
    return {
        "path": str(done.path),
        "format": done.format,
        "files": done.files,
        "dim": done.dim,
        "directory": done.directory,
        "referenced": list(done.referenced),
        "copied": list(done.copied),
        "chunks": done.chunks,
        "bytes": done.nbytes,
        "stored": done.stored,
    }


def _lines(done: Virtualized) -> Iterator[str]:
    files = "1 file" if done.files == 1 else f"{done.files} files"
    along = f" along {done.dim}" if done.dim is not None else ""
    yield (
        f"{printable(str(done.path))}: {done.chunks} references to {files}{along} in "
        f"{printable(done.directory)}, {done.stored / 2**20:.1f} MiB stored"
    )
    for what, names in (("referred to", done.referenced), ("copied", done.copied)):
        if names:
            yield f"{what}: {printable(', '.join(names))}"
    yield "it is opened by:"
    yield from (f"  {line}" for line in _code(done))


def _code(done: Virtualized) -> Iterator[str]:
    """Python that opens it where there is no hpclaunch."""
    path, on_s3 = str(done.path), done.directory.startswith("s3://")
    if done.format != "icechunk":
        if on_s3:
            yield 'options = {"remote_options": {}}  # of s3fs: {"anon": True}, "key" and "secret"'
            yield f'xr.open_dataset({path!r}, engine="kerchunk", storage_options=options)'
        else:
            yield f'xr.open_dataset({path!r}, engine="kerchunk")'
        return
    yield f"storage = icechunk.local_filesystem_storage({path!r})"
    if on_s3:
        yield "who = icechunk.s3_credentials(from_env=True)  # or anonymous=True"
        yield f"allowed = icechunk.containers_credentials({{{done.directory!r}: who}})"
    else:
        yield f"allowed = {{{done.directory!r}: None}}"
    yield "repo = icechunk.Repository.open(storage, authorize_virtual_chunk_access=allowed)"
    yield 'store = repo.readonly_session("main").store'
    yield 'xr.open_dataset(store, engine="zarr", consolidated=False)'
