"""The commands of make-believe schedulers, as programs on a PATH."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hpclaunch.demo import lsf, pbs, slurm
from hpclaunch.demo.modes import MODES, read_mode, table
from hpclaunch.demo.spool import Spool
from hpclaunch.demo.submits import Command, fail
from hpclaunch.shell import quote

__all__ = ["COMMANDS", "install", "main"]

COMMANDS: dict[str, dict[str, Command]] = {
    "slurm": slurm.COMMANDS,
    "pbs": pbs.COMMANDS,
    "lsf": lsf.COMMANDS,
}
"""By the scheduler's name in profiles, each command by its own name."""

_LONGEST = 120
"""Letters of an interpreter's name that every kernel takes from the first line of a program."""

_TEXT = """{head}
import sys
sys.path.insert(0, {package!r})
from hpclaunch.demo.programs import main
sys.exit(main({kind!r}, {name!r}, {spool!r}, sys.argv[1:]))
"""


def install(kind: str, folder: Path, spool: Path) -> None:
    """Put the commands of a scheduler into `folder`, with `spool` for what they remember.

    Both directories are made. ``misbehave`` and ``behave`` are among the commands: they switch the
    scheduler's modes on and off.
    """
    folder.mkdir(parents=True)
    spool.mkdir(mode=0o700, parents=True)
    package = str(Path(__file__).parents[2])
    for name in (*COMMANDS[kind], *_CONTROL):
        text = _TEXT.format(head=_head(), package=package, kind=kind, name=name, spool=str(spool))
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def _head() -> str:
    """The first line of a program of this very Python."""
    python = sys.executable
    if len(python) <= _LONGEST and not any(map(str.isspace, python)):
        return f"#!{python} -IS"
    # No kernel takes such a name from there. What follows is a command for sh, a text for Python.
    return f"#!/bin/sh\n'''exec' {quote(python)} -IS \"$0\" \"$@\"\n' '''"


def main(kind: str, name: str, spool: str, arguments: Sequence[str]) -> int:
    """Be one of the commands; returns its exit code."""
    there = Spool(spool)
    there.called(name)
    if name in _CONTROL:
        return _CONTROL[name](kind, there, arguments)
    return COMMANDS[kind][name](there, arguments)


def _misbehave(kind: str, spool: Spool, arguments: Sequence[str]) -> int:
    """Switch modes on; without arguments say which there are."""
    if not arguments:
        print("usage: misbehave MODE[=HOW]...     `behave` switches all modes off again")
        print(*table(spool), sep="\n")
        return 0
    try:
        wanted = [read_mode(kind, text) for text in arguments]
    except ValueError as error:
        return fail(f"misbehave: {error}", 2)
    for name, how in wanted:
        spool.set_mode(name, how)
    return 0


def _behave(kind: str, spool: Spool, arguments: Sequence[str]) -> int:
    """Switch modes off, all without arguments; what was held starts."""
    unknown = [name for name in arguments if name not in MODES]
    if unknown:
        return fail(f"behave: there is no mode {unknown[0]!r}; there are {', '.join(MODES)}", 2)
    for name in arguments or MODES:
        spool.set_mode(name, None)
    if spool.mode("hold") is None:
        start = {"slurm": slurm.start, "pbs": pbs.start, "lsf": lsf.start}[kind]
        for job in spool.jobs():
            if spool.course(job.id).waits and not job.options.get("held"):
                start(spool, job)
    return 0


_CONTROL: dict[str, Callable[[str, Spool, Sequence[str]], int]] = {
    "misbehave": _misbehave,
    "behave": _behave,
}
