"""`hpclaunch data inspect` and `index`: NetCDF-4 and HDF5 files."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Hashable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hpclaunch.cli.data_secrets import read_options
from hpclaunch.cli.data_text import (
    alike_line,
    chunk_lines,
    fields,
    inspection_lines,
    likeness,
)
from hpclaunch.cli.tell import Progress, tell
from hpclaunch.errors import HpclaunchError, StorageError, UsageError
from hpclaunch.shell import printable

if TYPE_CHECKING:
    from hpclaunch.storage.inspection import Inspection
    from hpclaunch.storage.many import Indexed

__all__ = ["check_installed", "index", "inspect"]

_NEEDED = ("numpy", "xarray", "h5py", "netCDF4")
_STEPS = 10


def inspect(arguments: argparse.Namespace) -> int:
    """How files are laid out; 1 where one of them cannot be told of."""
    options = read_options(arguments.storage_options, arguments.files)
    check_installed()
    documents: list[dict[str, Any]] = []
    failed = 0
    told = _Told()
    for path in arguments.files:
        try:
            found = _look(path, options)
            chunks = None if arguments.chunks is None else _chunks(found, arguments.chunks)
        except HpclaunchError as error:
            failed += 1
            documents.append({"path": path, "error": error.to_dict()})
            if not arguments.json:
                tell("\n".join(error.lines()))
            continue
        if arguments.json:
            documents.append(_document(found, arguments.chunks, chunks))
        else:
            told.print(found, chunks)
    if arguments.json:
        print(json.dumps(documents))
    return int(bool(failed))


class _Told:
    """Files that were told of: one that is laid out like one of them gets a line only."""

    def __init__(self) -> None:
        self._first: dict[Hashable, str] = {}
        self._many = self._alike = False

    def print(self, found: Inspection, chunks: Sequence[Any] | None) -> None:
        """Print what there is to say of a file, or its chunks."""
        path = found.facts.path
        first = path if chunks is not None else self._first.setdefault(likeness(found), path)
        if self._many and (first == path or not self._alike):
            print()
        lines = chunk_lines(chunks) if chunks is not None else inspection_lines(found)
        print(alike_line(found, first) if first != path else "\n".join(lines))
        self._many, self._alike = True, first != path


def check_installed() -> None:
    """The laptop's own installation reads no data files."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise HpclaunchError(
            f"data files are read with {', '.join(missing)}, which this Python does not have",
            hint="pip install 'hpclaunch[storage]'",
        )


def _look(path: str, options: dict[str, Any] | None) -> Inspection:
    from hpclaunch.storage.inspection import inspect as look
    from hpclaunch.storage.remote import is_url

    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            found = look(path, storage_options=options if is_url(path) else None)
    except OSError as error:
        raise StorageError(
            f"{path}: {error.strerror or error}", hint="is that its name, and may you read it?"
        ) from error
    for one in said:
        tell(f"note: {path}: {printable(str(one.message))}")
    return found


def _chunks(found: Inspection, name: str) -> Sequence[Any]:
    from hpclaunch.storage.describe import chunk_rows, find_variable

    variable = find_variable(found.index, name)
    if variable is None:
        names = ", ".join(one.name for one in found.facts.variables)
        raise StorageError(
            f"{found.facts.path} has no variable {name!r}", hint=f"it has {names or 'none'}"
        )
    rows = chunk_rows(variable.layout)
    if not rows:
        why = variable.layout.reason or f"it is {variable.layout.kind}"
        raise StorageError(
            f"the chunks of {name} in {found.facts.path} are not known: {why}",
            hint="`hpclaunch data inspect FILE` without --chunks tells the rest",
        )
    return rows


def _document(found: Inspection, name: str | None, chunks: Sequence[Any] | None) -> dict[str, Any]:
    if chunks is None:
        return fields(found)
    rows = [
        {"at": list(row.at), "offset": row.offset, "size": row.size, "mask": row.mask}
        for row in chunks
    ]
    return {"path": found.facts.path, "variable": name, "chunks": rows}


def index(arguments: argparse.Namespace) -> int:
    """Make indices beforehand; 1 where one of them failed."""
    if arguments.processes is not None and arguments.processes < 1:
        raise UsageError(f"--processes {arguments.processes}: at least 1")
    options = read_options(arguments.storage_options, arguments.files)
    check_installed()
    from hpclaunch.storage.many import index_many
    from hpclaunch.storage.sidecar import cache_directory

    with Progress() as progress:
        progress(f"looking at {len(arguments.files)} files")
        done = index_many(
            arguments.files,
            processes=arguments.processes,
            progress=_steps(progress),
            storage_options=options,
        )
    if arguments.json:
        print(json.dumps({**_indexed(done), "directory": str(cache_directory())}))
    else:
        print(
            f"{len(done.built)} new, {len(done.kept)} valid, {len(done.failed)} failed; "
            f"in {cache_directory()}"
        )
    for path, why in done.failed.items():
        tell(f"error: {why if path in why else f'{path}: {why}'}")
    return int(bool(done.failed))


def _indexed(done: Indexed) -> dict[str, Any]:
    failed = [{"path": path, "what": why} for path, why in done.failed.items()]
    return {"new": list(done.built), "valid": list(done.kept), "failed": failed}


def _steps(progress: Progress) -> Callable[[int, int, str], None]:
    """Progress by the file on a terminal, and every few percent elsewhere."""
    told = -1

    def step(done: int, every: int, path: str) -> None:
        nonlocal told
        now = done if sys.stderr.isatty() else done * _STEPS // every
        if now != told:
            told = now
            progress(f"{done} of {every} files indexed")

    return step
