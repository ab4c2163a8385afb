"""The commands of make-believe schedulers, as programs on a PATH."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hpclaunch.demo import lsf, pbs, slurm
from hpclaunch.demo.spool import Spool
from hpclaunch.demo.submits import Command

__all__ = ["COMMANDS", "install", "main"]

COMMANDS: dict[str, dict[str, Command]] = {
    "slurm": slurm.COMMANDS,
    "pbs": pbs.COMMANDS,
    "lsf": lsf.COMMANDS,
}
"""By the scheduler's name in profiles, each command by its own name."""

_TEXT = """#!{python} -IS
import sys
sys.path.insert(0, {package!r})
from hpclaunch.demo.programs import main
sys.exit(main({kind!r}, {name!r}, {spool!r}, sys.argv[1:]))
"""


def install(kind: str, folder: Path, spool: Path) -> None:
    """Put the commands of a scheduler into `folder`, with `spool` for what they remember.

    Both directories are made. `release` is one of them: it starts the jobs that are held back.
    """
    folder.mkdir(parents=True)
    spool.mkdir(mode=0o700, parents=True)
    package = str(Path(__file__).parents[2])
    for name in (*COMMANDS[kind], "release"):
        text = _TEXT.format(
            python=sys.executable, package=package, kind=kind, name=name, spool=str(spool)
        )
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def main(kind: str, name: str, spool: str, arguments: Sequence[str]) -> int:
    """Be one of the commands; returns its exit code."""
    there = Spool(spool)
    there.called(name)
    if name == "release":
        there.set_mode("hold", None)
        start = {"slurm": slurm.start, "pbs": pbs.start, "lsf": lsf.start}[kind]
        for job in there.jobs():
            if there.course(job.id).waits:
                start(there, job)
        return 0
    return COMMANDS[kind][name](there, arguments)
