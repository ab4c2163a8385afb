"""`--storage-options FILE`: what fsspec is told of a store, in a file that only its owner reads.

Values never stand on the command line, which `ps` shows to everybody on a node.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable
from typing import Any

from hpclaunch.errors import UsageError

__all__ = ["read_options"]

_OPTION = "--storage-options"

_OPEN = frozenset(
    {
        *("anon", "endpoint_url", "profile", "region_name", "requester_pays", "use_ssl", "verify"),
        *("client_kwargs", "config_kwargs", "signature_version", "max_attempts", "retries", "mode"),
        *("connect_timeout", "read_timeout", "max_pool_connections", "s3", "addressing_style"),
    }
)
"""Keys whose values anybody may know; all others are taken for secrets."""

_LARGEST = 2**20
"""Bytes."""


def read_options(name: str | None, files: Iterable[str]) -> dict[str, Any] | None:
    """The options that a file holds as one JSON object; None where none is named.

    Parameters
    ----------
    name : str or None
        A file, or ``-`` for standard input.
    files : iterable of str
        What shall be read with them: at least one URL.

    Raises
    ------
    UsageError
        If it cannot be read, holds something else, or holds what others must not know and can be
        read by them. What it holds is never told.
    """
    if name is None:
        return None
    if not any("://" in one for one in files):
        raise UsageError(f"{_OPTION} is for URLs, and all files are local", hint="leave it out")
    try:
        if name == "-":
            text, mode = sys.stdin.read(_LARGEST + 1), None
        else:
            with open(name, encoding="utf-8") as file:  # noqa: PTH123 (a name such as /dev/fd/63)
                text, mode = file.read(_LARGEST + 1), os.fstat(file.fileno()).st_mode
    except UnicodeDecodeError:
        raise UsageError(f"{_OPTION} {name}: this is no text", hint=_HINT) from None
    except OSError as error:
        raise UsageError(f"{_OPTION} {name}: {error.strerror or error}", hint=_HINT) from error
    found = _object(name, text)
    if mode is not None and stat.S_ISREG(mode) and mode & 0o077 and not _is_open(found):
        raise UsageError(
            f"{_OPTION} {name}: it may hold secrets, and others can read it",
            hint=f"chmod 600 {name}; whatever secret was in it may be known by now",
        )
    return found


_HINT = 'it holds one JSON object, such as {"key": "...", "secret": "..."} or {"anon": true}'


def _object(name: str, text: str) -> dict[str, Any]:
    """Read the JSON; its errors tell places, not words."""
    if len(text) > _LARGEST:
        raise UsageError(f"{_OPTION} {name}: it has more than 1 MiB", hint=_HINT)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{_OPTION} {name}: no JSON ({error.msg}, {where})", hint=_HINT) from None
    except RecursionError:
        raise UsageError(f"{_OPTION} {name}: it is nested too deeply", hint=_HINT) from None
    if not isinstance(found, dict):
        raise UsageError(f"{_OPTION} {name}: it is no JSON object", hint=_HINT)
    return found


def _is_open(options: dict[str, Any]) -> bool:
    """Whether anybody may know the options; an address may have a password before its host."""
    return all(
        key in _OPEN
        and (not isinstance(value, dict) or _is_open(value))
        and not (isinstance(value, str) and "@" in value)
        and not isinstance(value, list)
        for key, value in options.items()
    )
