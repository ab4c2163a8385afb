"""The table ``[scheduler]`` of a site profile, and what all tables have in common."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hpclaunch.sites.values import Flag, Line, Misfit
from hpclaunch.units import MemoryAs

__all__ = ["LsfTable", "PbsTable", "SchedulerTable", "Table"]


class Table(BaseModel):
    """A table of a profile. Each may say where its values come from and when that was checked."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
    )

    source: Line | None = None
    """Where the values of this table come from (a document, a repository and its revision)."""

    checked_on: date | None = None
    """The day the values were last held against their source or the machine."""


class PbsTable(Table):
    """How a site's PBS wants to be asked."""

    dialect: Literal["pbs", "torque", "totals"] = "pbs"
    """``torque`` asks for ``nodes=N:ppn=C`` where PBS Pro and OpenPBS have ``select``; ``totals``
    for ``ncpus`` and ``mem`` of the whole job, at sites that want to place it themselves."""

    chunk: tuple[Line, ...] = ()
    """What every node of a job needs besides, such as ``model=mil_ait``; for Torque a property."""

    place: Line | None = None
    """Value of ``-l place=``, such as ``scatter:excl``; by default each node is another host."""

    charge_by: Literal["-A", "-P", "group_list"] = "-A"
    """The option that names the account; ``group_list`` is ``-W group_list=``."""


class LsfTable(Table):
    """How a site's LSF is asked; ``lsf.conf`` and ``lsb.resources`` say how it counts memory."""

    memory_unit: Literal["KB", "MB", "GB", "TB"] = "MB"
    """``LSF_UNIT_FOR_LIMITS``: what a bare number of memory is in."""

    memory_per: Literal["host", "task", "job"] = "host"
    """What such a number is for: a host, each slot of it, or the whole job."""

    script: Literal["stdin", "argument"] = "stdin"
    """How ``bsub`` gets a job: its script on stdin, or a file's name as its ``argument`` with the
    options before it, at sites whose ``bsub`` reads no script."""


class SchedulerTable(Table):
    """The batch scheduler."""

    kind: Literal["slurm", "pbs", "lsf", "local"]
    """Which scheduler; ``pbs`` is PBS Pro, OpenPBS and Torque, ``local`` runs the job on this
    machine without one."""

    default_queue: Line | None = None
    """Queue (partition) of jobs that name none; without it the scheduler's own default."""

    account_required: Flag = False
    """Whether a job without an account is refused."""

    options: tuple[Line, ...] = ()
    """Options that every command of the scheduler needs, such as ``--clusters=c5``; SLURM only."""

    directives: tuple[Line, ...] = ()
    """Further options of every job as they stand in a script, such as ``--constraint=cpu`` (SLURM),
    ``-l filesystems=home`` (PBS) or ``-G climate`` (LSF)."""

    prologue: tuple[Line, ...] = ()
    """Lines of bash that run in every job before everything else, modules included: sessions,
    batch jobs and worker jobs."""

    epilogue: tuple[Line, ...] = ()
    """Lines of bash that run when all of a job has ended, whatever its exit code, which is ``$1``
    of a session's and a batch's; also when the job could not begin or is cancelled, as far as the
    scheduler leaves time for it. They do not change the exit code."""

    pbs: PbsTable | None = None
    """How this PBS wants to be asked; only where `kind` is ``pbs``."""

    lsf: LsfTable | None = None
    """How this LSF counts; only where `kind` is ``lsf``."""

    @property
    def quirks(self) -> dict[str, Any]:
        """What the scheduler's own table says, as `hpclaunch.schedulers.kinds` takes it."""
        table = {"pbs": self.pbs, "lsf": self.lsf}.get(self.kind)
        return table.model_dump(exclude={"source", "checked_on"}) if table else {}

    def check(self) -> None:
        """Hold the keys against the kind.

        Raises
        ------
        Misfit
            If one is of another scheduler, or two exclude each other.
        """
        for name in ("pbs", "lsf"):
            if name != self.kind and getattr(self, name) is not None:
                place = ("scheduler", name)
                raise Misfit(place, f"says how {name} is asked, and kind is {self.kind!r}")
        if self.options and self.kind in ("pbs", "lsf"):
            place = ("scheduler", "options")
            raise Misfit(place, f"no option is common to all commands of {self.kind}")
        if self.pbs is not None and self.pbs.dialect == "torque" and self.pbs.place is not None:
            raise Misfit(("scheduler", "pbs", "place"), "Torque has none")
        if self.pbs is not None and self.pbs.dialect == "totals" and self.pbs.chunk:
            raise Misfit(("scheduler", "pbs", "chunk"), "totals of a job have no chunks")

    def misses(self, qos: str | None, memory_as: MemoryAs) -> Iterator[tuple[str, str]]:
        """What a queue asks for that this scheduler does not have: keys, and words for each."""
        if self.kind not in ("pbs", "lsf"):
            return
        if qos is not None:
            yield "qos", f"{self.kind} has none"
        if memory_as == "core":
            yield "memory_as", f"must be 'node', 'whole' or 'none' for {self.kind}"
