"""The directory that holds the sockets of a connection: short, and nobody else's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpclaunch.errors import TransportError

__all__ = ["check_directory"]

_LONGEST = 103
"""Bytes of a UNIX socket's path: 108 on Linux, 104 on macOS, less the final NUL."""


def check_directory(directory: Path, name_length: int) -> None:
    """Raise `TransportError` if sockets in `directory` would fail or be unsafe.

    Parameters
    ----------
    name_length : int
        Bytes of the longest name a socket will have.
    """
    if sys.platform == "win32":
        return  # no sockets there, and other permissions than those of POSIX
    if len(os.fsencode(directory)) + 1 + name_length > _LONGEST:
        raise TransportError(
            f"the directory for sockets has too long a name: {directory}",
            hint="a socket's path is limited to about 100 characters; choose a shorter one",
        )
    try:
        state = directory.stat()
    except OSError as error:
        raise TransportError(f"the directory for sockets cannot be used: {error}") from error
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise TransportError(
            f"the directory for sockets is open to others: {directory}",
            hint="it must be yours alone: chmod 700",
        )
