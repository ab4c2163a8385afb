"""A job's options as the lines of a script that bsub reads.

bsub takes a value in double quotes as one word; what it makes of a quote or a backslash inside is
not known, so those are refused. ``-R`` may be given once (in volclava; IBM's LSF puts several
together), so what the profile asks for by ``-R`` goes into the same one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpclaunch.schedulers.base import JobSpec
from hpclaunch.schedulers.checks import check_options, refuse_foreign
from hpclaunch.units import Memory

__all__ = ["MemoryRule", "directives"]

# `[` would make an array, and 300 characters are a "Bad job name".
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,200}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_.+:/@%=-]+", re.ASCII)
_REQUIREMENT = re.compile(r"""-R\s*(["']?)(.*)\1""", re.DOTALL)
_UNITS = {"KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_MINUTE = 60  # seconds


@dataclass(frozen=True)
class MemoryRule:
    """What a bare number of memory means at a site; its ``lsf.conf`` and ``lsb.params`` say it.

    Attributes
    ----------
    unit : {"KB", "MB", "GB", "TB"}
        ``LSF_UNIT_FOR_LIMITS``.
    per : {"host", "task", "job"}
        What the number is for: a host, each slot of it, or the whole job.
    """

    unit: str = "MB"
    per: str = "host"

    def __post_init__(self) -> None:
        if self.unit not in _UNITS:
            raise ValueError(f"memory_unit is one of {', '.join(_UNITS)}, not {self.unit!r}")
        if self.per not in ("host", "task", "job"):
            raise ValueError(f"memory_per is 'host', 'task' or 'job', not {self.per!r}")

    def number(self, on_a_host: Memory, hosts: int, slots: int) -> int:
        """The number that grants at least so much memory on each of `hosts`.

        Parameters
        ----------
        on_a_host : Memory
        hosts : int
        slots : int
            Slots on each host.
        """
        shares = {"host": (1, 1), "task": (1, slots), "job": (hosts, 1)}
        times, parts = shares[self.per]
        return -(-on_a_host.bytes * times // (parts * _UNITS[self.unit]))


def directives(spec: JobSpec, memory: MemoryRule) -> list[str]:
    """The ``#BSUB`` lines for `spec`, in a fixed order; ``spec.extra`` comes last.

    Raises
    ------
    ValueError
        If LSF cannot be asked for it: a name that would be an array, a QOS, a value with quotes,
        an `extra` that is no option.
    """
    if not _NAME.fullmatch(spec.name):
        raise ValueError(
            f"LSF takes no job named {spec.name!r}: write up to 200 letters, digits, _ . + and -"
        )
    refuse_foreign(spec, "LSF")
    if spec.memory_as == "core":
        raise ValueError(
            "LSF is not asked for memory by the core: what a number of it is for is said once, by "
            "memory_per of [scheduler.lsf]"
        )
    check_options(spec.extra, "bsub", "'-G group'")
    slots = spec.tasks_per_node * spec.cores
    words = [
        f"-J {spec.name}",
        "-o /dev/null",  # the job writes its own log; LSF's is a mail, sent when all is over
        f"-W {-(-spec.walltime.seconds // _MINUTE)}",
        f"-n {spec.nodes * slots}",
        f'-R "{_requirement(spec, slots, memory)}"',
        *([f"-q {_word('queue', spec.queue)}"] if spec.queue is not None else []),
        *([f"-P {_word('account', spec.account)}"] if spec.account is not None else []),
        *([f'-gpu "num={spec.gpus}"'] if spec.gpus else []),
        *(option for option in spec.extra if not _REQUIREMENT.fullmatch(option)),
    ]
    return [f"#BSUB {word}" for word in words]


def _requirement(spec: JobSpec, slots: int, memory: MemoryRule) -> str:
    """The one resource requirement; a selection without a name must come first."""
    asked = [match[2] for one in spec.extra if (match := _REQUIREMENT.fullmatch(one))]
    if any('"' in one for one in asked):
        raise ValueError(f"a resource requirement has no double quotes inside: {asked}")
    span = "span[hosts=1]" if spec.nodes == 1 else f"span[ptile={slots}]"
    if spec.memory is None or spec.memory_as in ("whole", "none"):
        return " ".join([*asked, span])
    return " ".join([*asked, span, f"rusage[mem={memory.number(spec.memory, spec.nodes, slots)}]"])


def _word(what: str, text: str) -> str:
    if not text or not text.isprintable() or '"' in text or "\\" in text:
        raise ValueError(f"a {what} without quotes and backslashes it must be: {text!r}")
    return text if _PLAIN.fullmatch(text) else f'"{text}"'
