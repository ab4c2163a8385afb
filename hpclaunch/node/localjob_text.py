"""What `localjob` and its callers say to each other: directive lines in, status lines out. Pure.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

__all__ = ["MAGIC", "Request", "Row", "parse_rows", "read_request", "render_row"]

MAGIC = "#HPCLAUNCH "
"""How a directive line begins; POSIX words ``--name=value`` follow."""

_MARK = "localjob"
_OPTION = re.compile(r"--(job-name|output|time)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Request:
    """What a script asks for in its directives.

    Attributes
    ----------
    name : str
    output : str
        Absolute path of the file that takes both streams.
    seconds : int
        The walltime.
    interpreter : tuple of str
        The words of the script's ``#!`` line.
    """

    name: str
    output: str
    seconds: int
    interpreter: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One job as `localjob status` tells it.

    Attributes
    ----------
    id : str
    word : str
        STARTING, RUNNING, ENDING, COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL or ELSEWHERE.
    host : str
    ends : float or None
        When it ended, or when its walltime is over; seconds since the epoch.
    exit_code, signal : int or None
    reason : str
    """

    id: str
    word: str
    host: str = ""
    ends: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""


def read_request(script: bytes) -> Request:
    """Read the directives of a script: comment lines above its first command.

    Raises
    ------
    ValueError
        If there is no ``#!`` line, a directive is unknown or cannot be read, or name, output or
        time is missing.
    """
    lines = script.decode("utf-8", "surrogateescape").split("\n")
    if not lines[0].startswith("#!") or not lines[0][2:].strip():
        raise ValueError("the first line of the script must be #! and its interpreter")
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() and not line.lstrip().startswith("#"):
            break
        if line.startswith(MAGIC):
            for word in shlex.split(line[len(MAGIC) :]):
                match = _OPTION.fullmatch(word)
                if match is None:
                    raise ValueError(f"unknown directive {word!r}")
                found[match[1]] = match[2]
    missing = [name for name in ("job-name", "output", "time") if not found.get(name)]
    if missing:
        raise ValueError(f"the script has no directive --{missing[0]}")
    if not found["output"].startswith("/"):
        raise ValueError(f"--output must be an absolute path, not {found['output']!r}")
    # Like the kernel: an interpreter and at most one argument.
    interpreter = tuple(lines[0][2:].strip().split(None, 1))
    return Request(found["job-name"], found["output"], _seconds(found["time"]), interpreter)


def _seconds(clock: str) -> int:
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d)", clock, re.ASCII)
    if match is None:
        raise ValueError(f"--time must be HH:MM:SS, not {clock!r}")
    hours, minutes, seconds = (int(part) for part in match.groups())
    total = (hours * 60 + minutes) * 60 + seconds
    if total <= 0:
        raise ValueError("--time must be more than 0 seconds")
    return total


def render_row(row: Row) -> str:
    """Return `row` as one line; `parse_rows` reads it back."""
    numbers = (row.ends, row.exit_code, row.signal)
    fields = ["" if number is None else repr(number) for number in numbers]
    reason = " ".join(row.reason.split()).encode("ascii", "backslashreplace").decode("ascii")
    return "|".join([_MARK, row.id, row.word, row.host, *fields, reason])


def parse_rows(text: str) -> list[Row]:
    """The rows among the lines of `text`; whatever else was said is left out."""
    rows = []
    for line in text.split("\n"):
        fields = line.split("|", 7)
        if len(fields) != 8 or fields[0] != _MARK:
            continue
        try:
            ends = float(fields[4]) if fields[4] else None
            code, signal = (int(field) if field else None for field in fields[5:7])
        except ValueError:
            continue
        rows.append(Row(fields[1], fields[2], fields[3], ends, code, signal, fields[7]))
    return rows
