"""The reader's options by where a file lies, found out once for each directory."""

from __future__ import annotations

import functools
import os
from dataclasses import replace

from hpclaunch.errors import StorageError
from hpclaunch.storage.filesystem import place
from hpclaunch.storage.places import REMOTE, reading_options
from hpclaunch.storage.reader import Options
from hpclaunch.storage.remote import IN_FLIGHT, Location, Remote

__all__ = ["options_for"]

_USUAL = Options()


def options_for(path: Location) -> Options:
    """How requests to a file are cut: by its stripes, and by what a request costs there.

    No tool is run and the file is not opened: the mount table, a stat and extended attributes tell
    enough. The files of a directory are taken to lie as the first of them that is asked for.
    """
    if isinstance(path, Remote):
        return replace(_USUAL, gap=REMOTE.gap, ahead=IN_FLIGHT)
    return _options(_ByDirectory(os.path.dirname(path), path))  # noqa: PTH120


class _ByDirectory:
    """A key that is its directory, and brings the path along."""

    def __init__(self, directory: str, path: str) -> None:
        self.directory, self.path = directory, path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDirectory) and self.directory == other.directory

    def __hash__(self) -> int:
        return hash(self.directory)


@functools.lru_cache(maxsize=1024)
def _options(key: _ByDirectory) -> Options:
    try:
        found = reading_options(place(key.path, ask=lambda _: None))
    except (OSError, StorageError):
        return _USUAL  # whoever reads it will say what is wrong
    return replace(_USUAL, align=found.align, gap=found.gap)
