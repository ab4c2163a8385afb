"""Files of a session directory: written whole or not at all, and readable by their owner only.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from typing import Any

__all__ = ["make_private_dir", "read_json", "remove", "write_private", "write_private_json"]


def write_private(path: str, data: bytes) -> None:
    """Put `data` at `path`, mode 0600, in one step.

    A reader sees the old file or the new one, never a part. The temporary file is created
    exclusively and without following a link, so nobody can have put something there before.

    Raises
    ------
    OSError
        If the directory is not writable or the filesystem is full; no temporary file stays.
    """
    temporary = "{}.{}.tmp".format(path, secrets.token_hex(8))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            # The other end reads this on another machine: the data must be there before the name.
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_private_json(path: str, value: Any) -> None:
    """Put `value` at `path` as JSON, like `write_private`."""
    write_private(path, (json.dumps(value, indent=2) + "\n").encode("utf-8"))


def read_json(path: str) -> Any:
    """Return what the JSON file at `path` holds.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is not JSON.
    """
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def make_private_dir(path: str) -> None:
    """Make the directory `path`, mode 0700; an existing one of ours is closed to others.

    Raises
    ------
    OSError
        If it cannot be made or belongs to somebody else.
    """
    os.makedirs(path, mode=0o700, exist_ok=True)
    os.chmod(path, 0o700)


def remove(path: str) -> None:
    """Remove a file or a whole directory; what is not there is no error.

    Raises
    ------
    OSError
        If something is there and cannot be removed.
    """
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass
