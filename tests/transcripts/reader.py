"""Read the recorded answers of real schedulers; the format is told in README.md beside this."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_SECTION = re.compile(rb"--- (command|stdin|stdout|stderr) \((\d+) bytes\)")
_EXIT = re.compile(rb"--- exit: (\d+)")
_NOTE = re.compile(rb"--- note: (.*)")


@dataclass(frozen=True)
class Record:
    """One command that ran on a real site, and all it said."""

    command: str
    exit: int
    stdout: str
    stderr: str
    note: str = ""
    stdin: str = ""


def records(release: str, topic: str) -> list[Record]:
    """All records of one file, such as ``records("slurm-22.05", "20_state_R")``."""
    data = (_HERE / release / f"{topic}.txt").read_bytes()
    found: list[dict[str, str]] = []
    position = 0
    while position < len(data):
        end = data.index(b"\n", position)
        line = data[position:end]
        position = end + 1
        if line.startswith(b"=== "):
            found.append({})
        elif match := _SECTION.fullmatch(line):
            size = int(match[2])
            found[-1][match[1].decode()] = data[position : position + size].decode()
            position += size + 1  # one newline was added after the section
        elif match := _EXIT.fullmatch(line):
            found[-1]["exit"] = match[1].decode()
        elif match := _NOTE.fullmatch(line):
            found[-1]["note"] = match[1].decode()
        elif line:
            raise ValueError(f"{release}/{topic}: unexpected line {line!r}")
    return [_record(fields) for fields in found]


def _record(fields: dict[str, str]) -> Record:
    return Record(
        command=fields["command"].strip(),
        exit=int(fields["exit"]),
        stdout=fields["stdout"],
        stderr=fields["stderr"],
        note=fields.get("note", ""),
        stdin=fields.get("stdin", ""),
    )
