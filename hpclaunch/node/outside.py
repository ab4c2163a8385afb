"""Commands of the node, run for processes inside an image: the scheduler's, and what starts ranks.

An image has neither ``sbatch`` nor ``srun``, and what it may have is not the node's. The job's
script, which runs outside, therefore serves: it reads orders from a FIFO in a private directory of
the node, and runs them there. Inside, programs of the same names stand first in PATH, which order
and wait; each is `main`. What they read, write and return is the command's own.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from types import FrameType
from typing import Optional

from hpclaunch.shell import quote

__all__ = ["DIRECTORY", "commands_of", "go_outside", "main", "order_text"]

DIRECTORY = "HPCLAUNCH_OUTSIDE"
"""The variable that names the directory; not set where nothing runs inside an image."""

_COMMANDS = {
    "slurm": ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo", "srun"),
    "pbs": ("qsub", "qstat", "qdel", "pbsnodes", "qalter"),
    "lsf": ("bsub", "bjobs", "bkill", "bhist", "bpeek", "bqueues", "lsid", "jsrun", "blaunch"),
}
# Isolated: a process may stand in a directory whose modules have the names of Python's own.
_RUN = (
    "import sys; sys.path.insert(0, sys.argv[1]); from hpclaunch.node import outside; "
    "sys.exit(outside.main(sys.argv[2:]))"
)
_LIBRARY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_ORDERS = "orders"
_NOBODY = 126  # exit code where nobody serves
# The node has its own values of all others. These are what callers say to commands by.
_TOLD_PREFIXES = ("SLURM_", "SBATCH_", "SRUN_", "PBS_", "LSB_", "DASK_")
_TOLD = ("PYTHONPATH", "OMP_NUM_THREADS")


def commands_of(scheduler: str, launcher: Iterable[str] = (), ssh: bool = False) -> list[str]:
    """What has to run outside: the scheduler's commands, the program that starts ranks, ssh."""
    return [*_COMMANDS.get(scheduler, ()), *list(launcher)[:1], *(["ssh"] if ssh else [])]


def go_outside(names: Iterable[str], surroundings: MutableMapping[str, str]) -> None:
    """Let the commands `names` of this process and its children run outside the image.

    Parameters
    ----------
    names : iterable of str
        Their names, or paths outside; each is found by its last part.
    surroundings : mapping
        The environment, whose PATH is changed; nothing is done where it names no directory.
    """
    here = surroundings.get(DIRECTORY)
    if not here:
        return
    folder = os.path.join(here, "bin")
    os.makedirs(folder, 0o700, exist_ok=True)
    own = [sys.executable, "-I", "-c", _RUN, _LIBRARY]
    for name in names:
        path = os.path.join(folder, os.path.basename(name))
        words = " ".join(quote(word) for word in (*own, name))
        with open(path, "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\nexec {} "$@"\n'.format(words))
        os.chmod(path, 0o700)
    surroundings["PATH"] = os.pathsep.join([folder, surroundings.get("PATH", os.defpath)])


def order_text(argv: Iterable[str], surroundings: Mapping[str, str], directory: str) -> str:
    """The script that the node runs: `argv`, in the caller's directory.

    Of the environment only that goes along by which commands are told what to do: PATH and
    libraries are the image's.
    """
    told = {
        name: value
        for name, value in surroundings.items()
        if (name.startswith(_TOLD_PREFIXES) or name in _TOLD) and name.isidentifier()
    }
    dropped = ['"${{!{}@}}"'.format(prefix) for prefix in _TOLD_PREFIXES]
    return "\n".join(
        [
            "unset -v {}".format(" ".join(dropped)),
            *("export {}={}".format(name, quote(value)) for name, value in told.items()),
            "cd -- {} || exit".format(quote(directory)),
            "exec {}".format(" ".join(quote(word) for word in argv)),
            "",
        ]
    )


def main(argv: list[str]) -> int:
    """Run the command `argv` outside; returns its exit code."""
    here = os.environ.get(DIRECTORY, "")
    try:
        orders = os.open(os.path.join(here, _ORDERS), os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        said = "{}: the node does not listen to this image: {}\n".format(argv[0], error)
        sys.stderr.write(said)
        return _NOBODY
    order = tempfile.mkdtemp(prefix="order-", dir=here)
    try:
        return _run(argv, order, orders)
    finally:
        shutil.rmtree(order, ignore_errors=True)


def _run(argv: list[str], order: str, orders: int) -> int:
    ways = {name: os.path.join(order, name) for name in ("in", "out", "err", "exit")}
    for way in ways.values():
        os.mkfifo(way, 0o600)
    with open(os.path.join(order, "command"), "w", encoding="utf-8") as file:
        file.write(order_text(argv, os.environ, os.getcwd()))
    name = os.path.basename(order)

    def end(_number: int, _frame: Optional[FrameType]) -> None:
        os.write(orders, "end {}\n".format(name).encode("ascii"))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    os.write(orders, "run {}\n".format(name).encode("ascii"))
    threading.Thread(target=_feed, args=(ways["in"],), daemon=True).start()
    streams = [
        threading.Thread(target=_pass_on, args=(ways[way], number), daemon=True)
        for way, number in (("out", 1), ("err", 2))
    ]
    for stream in streams:
        stream.start()
    with open(ways["exit"], encoding="ascii") as told:
        said = told.read().strip()
    for stream in streams:  # what it has left in the background may hold them open
        stream.join(1.0)
    return int(said) if said else 1


def _feed(way: str) -> None:
    """Pass our standard input on."""
    with open(way, "wb", buffering=0) as there:
        if os.isatty(0):
            return
        try:
            for part in _parts(0):
                there.write(part)
        except BrokenPipeError:
            pass  # the command has read enough


def _pass_on(way: str, number: int) -> None:
    with open(way, "rb", buffering=0) as there:
        for part in _parts(there.fileno()):
            os.write(number, part)


def _parts(descriptor: int) -> Iterator[bytes]:
    while True:
        part = os.read(descriptor, 65536)
        if not part:
            return
        yield part
