"""The formats that references are written in: their names, packages and targets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from hpclaunch.errors import StorageError, UsageError
from hpclaunch.storage.target import checked_target, part_file
from hpclaunch.storage.targetdir import checked_directory, part_directory

__all__ = ["FORMATS", "Format", "check_installed", "form_part", "form_target", "format_of"]

Format = Literal["kerchunk-json", "kerchunk-parquet", "icechunk"]

FORMATS: dict[str, tuple[str, ...]] = {
    "kerchunk-json": (".json",),
    "kerchunk-parquet": (".parq", ".parquet"),
    "icechunk": (".icechunk",),
}
"""What can be written, and the suffixes that say so."""

_NEEDED = {
    "kerchunk-json": ("virtualizarr", "zarr", "kerchunk"),
    "kerchunk-parquet": ("virtualizarr", "zarr", "kerchunk", "fastparquet"),
    "icechunk": ("virtualizarr", "zarr", "icechunk"),
}


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


def check_installed(form: str) -> None:
    """Raise `StorageError` if a package is missing that writes the format."""
    missing = [name for name in _NEEDED[form] if find_spec(name) is None]
    if missing:
        raise StorageError(
            f"{form} is written with {', '.join(missing)}, which this Python does not have",
            hint="pip install 'hpclaunch[virtual]'",
        )


def _ours(form: str) -> Callable[[Path], bool]:
    if form == "icechunk":
        return lambda path: (path / "refs").is_dir() and (path / "snapshots").is_dir()
    return lambda path: (path / ".zmetadata").is_file()


def form_target(output: str | os.PathLike[str], form: str, overwrite: bool) -> Path:
    """Where the archive shall appear; its errors are those of `checked_target` and its like."""
    if form == "kerchunk-json":
        return checked_target(output, overwrite)
    return checked_directory(output, overwrite, _ours(form))


@contextmanager
def form_part(target: Path, form: str, overwrite: bool) -> Iterator[Path]:
    """What is filled, and takes the target's name when it is whole."""
    way = part_file if form == "kerchunk-json" else part_directory
    with way(target, overwrite) as part:
        yield part
