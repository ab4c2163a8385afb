"""A job's options as the lines of a script that qsub reads.

qsub takes a line as it takes its command line: words, with quotes around what holds a blank. What
it makes of a quote inside a word differs between releases, so names that would need one are
refused. Options of the profile stand as they are written there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpclaunch.schedulers.base import JobSpec
from hpclaunch.schedulers.checks import check_options, refuse_foreign
from hpclaunch.units import Memory

__all__ = ["Dialect", "directives"]

# OpenPBS refuses blanks, / : # $ and letters beyond ASCII in a name, and more than 230 characters.
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,230}", re.ASCII)
_WORD = re.compile(r"""[^\s"'\\#]+""")
_CHARGED = {"-A": "-A {}", "-P": "-P {}", "group_list": "-W group_list={}"}


@dataclass(frozen=True)
class Dialect:
    """How a site's PBS wants to be asked.

    Attributes
    ----------
    dialect : {"pbs", "torque", "totals"}
        Torque asks for ``nodes=N:ppn=C`` where PBS has ``select``; some sites of PBS Pro want the
        cores and the memory of the whole job instead, and place it themselves.
    chunk : tuple of str
        What every node must have besides, such as ``model=mil_ait``.
    place : str or None
        Value of ``-l place=``; by default each node is another host.
    charge_by : {"-A", "-P", "group_list"}
        The option that names the account.
    """

    dialect: str = "pbs"
    chunk: tuple[str, ...] = ()
    place: str | None = None
    charge_by: str = "-A"

    def __post_init__(self) -> None:
        if self.dialect not in _ASKED_BY:
            known = ", ".join(map(repr, _ASKED_BY))
            raise ValueError(f"the dialect of PBS is one of {known}, not {self.dialect!r}")
        if self.charge_by not in _CHARGED:
            raise ValueError(f"charge_by is one of {', '.join(_CHARGED)}, not {self.charge_by!r}")
        if self.place is not None and self.dialect == "torque":
            raise ValueError("Torque has no place; write its own option into the directives")
        if self.dialect == "totals" and self.chunk:
            raise ValueError("totals have no chunks; write an option into the directives")

    @property
    def is_torque(self) -> bool:
        """Whether it is Torque."""
        return self.dialect == "torque"


def directives(spec: JobSpec, dialect: Dialect) -> list[str]:
    """The ``#PBS`` lines for `spec`, in a fixed order; ``spec.extra`` comes last.

    Raises
    ------
    ValueError
        If PBS cannot be asked for it: a name it refuses, a QOS, an array, a value with blanks or
        quotes, an `extra` that is no option.
    """
    if not _NAME.fullmatch(spec.name):
        raise ValueError(
            f"PBS takes no job named {spec.name!r}: write up to 230 letters, digits, _ . + and -"
        )
    refuse_foreign(spec, "PBS")
    if spec.memory_as == "core":
        raise ValueError(
            "PBS is asked for the memory of nodes, not of cores; for nodes of one's own: "
            'memory_as = "whole" and a place with excl'
        )
    words = [
        f"-N {spec.name}",
        "-j oe",
        "-o /dev/null",  # the job writes its own log; PBS shows output when all is over
        f"-l walltime={spec.walltime.clock()}",
        *_ASKED_BY[dialect.dialect](spec, dialect),
    ]
    if spec.queue is not None:
        words.append(f"-q {_word('queue', spec.queue)}")
    if spec.account is not None:
        words.append(_CHARGED[dialect.charge_by].format(_word("account", spec.account)))
    # A job that ran twice would begin in a directory already used; mail at every qdel is a flood.
    words += ["-r n", "-m n"]
    check_options(spec.extra, "qsub", "'-l name=value'")
    return [f"#PBS {word}" for word in (*words, *spec.extra)]


def _select(spec: JobSpec, dialect: Dialect) -> list[str]:
    """Nodes as chunks, the way of PBS Pro and OpenPBS."""
    parts = [
        f"{spec.nodes}:ncpus={spec.tasks_per_node * spec.cores}",
        f"mpiprocs={spec.tasks_per_node}",
        *([f"mem={memory.in_mib()}mb"] if (memory := _asked(spec)) else []),
        *([f"ngpus={spec.gpus}"] if spec.gpus else []),
        *(_word("part of a chunk", part) for part in dialect.chunk),
    ]
    place = dialect.place or ("scatter" if spec.nodes > 1 else None)
    placed = [f"-l place={_word('place', place)}"] if place else []
    return [f"-l select={':'.join(parts)}", *placed]


def _torque_nodes(spec: JobSpec, dialect: Dialect) -> list[str]:
    """Nodes the way of Torque, where memory is that of the whole job."""
    parts = [
        f"{spec.nodes}:ppn={spec.tasks_per_node * spec.cores}",
        *([f"gpus={spec.gpus}"] if spec.gpus else []),
        *(_word("property of a node", part) for part in dialect.chunk),
    ]
    return [f"-l nodes={':'.join(parts)}", *_memory_of_all(spec)]


def _totals(spec: JobSpec, dialect: Dialect) -> list[str]:
    """Cores and memory of all nodes together; the site fills one node after the other."""
    cores = spec.nodes * spec.tasks_per_node * spec.cores
    return [
        f"-l ncpus={cores}",
        *([f"-l ngpus={spec.nodes * spec.gpus}"] if spec.gpus else []),
        *_memory_of_all(spec),
        *([f"-l place={_word('place', dialect.place)}"] if dialect.place else []),
    ]


_ASKED_BY = {"pbs": _select, "torque": _torque_nodes, "totals": _totals}


def _memory_of_all(spec: JobSpec) -> list[str]:
    memory = _asked(spec)
    return [f"-l mem={memory.in_mib() * spec.nodes}mb"] if memory else []


def _asked(spec: JobSpec) -> Memory | None:
    """The memory to ask for on each node; None where all of a node's comes by itself."""
    return None if spec.memory_as in ("whole", "none") else spec.memory


def _word(what: str, text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError(f"a {what} without blanks, quotes, backslashes and # it must be: {text!r}")
    return text
