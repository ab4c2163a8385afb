"""What a user may do by SLURM's accounting: accounts, QOS and their limits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from hpclaunch.survey.numbers import count, days_clock
from hpclaunch.survey.report import Report
from hpclaunch.units import Walltime

__all__ = ["Limits", "Rights"]

_T = TypeVar("_T", int, Walltime)


@dataclass(frozen=True)
class Limits:
    """What bounds jobs; None where nothing does, or nothing is known."""

    walltime: Walltime | None = None
    jobs: int | None = None
    """Jobs of one user, waiting ones included."""

    def under(self, other: Limits) -> Limits:
        """These limits where there are some, else the other's: a partition's QOS goes first."""
        return Limits(self.walltime or other.walltime, self.jobs or other.jobs)

    def and_also(self, other: Limits) -> Limits:
        """Both at a time."""
        return Limits(
            min(filter(None, (self.walltime, other.walltime)), default=None),
            min(filter(None, (self.jobs, other.jobs)), default=None),
        )


@dataclass(frozen=True)
class Rights:
    """A user's associations.

    Attributes
    ----------
    accounts : tuple of str or None
        None where accounting gave no answer.
    default_account : str or None
    qos : frozenset of str
        Those that the user may ask for; empty where that is not known.
    default_qos : str or None
        The one of jobs that name none.
    own : Limits
        Of all associations together: what the most generous one allows.
    of_qos : dict of str to Limits
    """

    accounts: tuple[str, ...] | None = None
    default_account: str | None = None
    qos: frozenset[str] = frozenset()
    default_qos: str | None = None
    own: Limits = Limits()
    of_qos: Mapping[str, Limits] = field(default_factory=dict)

    @classmethod
    def read(cls, report: Report, cluster: str) -> Rights:
        """Rights on a cluster, as ``sacctmgr`` tells them."""
        text = report.out("accounts.assoc")
        rows = [row for row in _rows(text or "", 8) if row[0] == cluster or not cluster]
        users = list(_rows(report.out("accounts.user") or "", 2))
        qos = frozenset(one for row in rows for one in row[6].split(",") if one)
        return cls(
            accounts=None
            if text is None
            else tuple(dict.fromkeys(row[1] for row in rows if row[1])),
            default_account=(users[0][1] or None) if users else None,
            qos=qos,
            default_qos=_default_qos({row[7] for row in rows if row[7]}, qos),
            own=Limits(
                _most(days_clock(row[5]) for row in rows), _most(count(row[4]) for row in rows)
            ),
            of_qos={
                row[0]: Limits(days_clock(row[1]), count(row[3]))
                for row in _rows(report.out("accounts.qos") or "", 5)
            },
        )

    def limits(self, partition_qos: str | None, job_qos: str | None) -> Limits:
        """What accounting allows a job in a partition."""
        by_job = self.of_qos.get(job_qos or self.default_qos or "", Limits())
        by_partition = self.of_qos.get(partition_qos or "", Limits())
        return by_partition.under(by_job).and_also(self.own)

    def admitted_qos(self, listed: str) -> tuple[bool, str | None]:
        """Whether a partition's ``AllowQos`` admits the user, and the QOS that jobs must name."""
        names = listed.split(",")
        if listed == "ALL" or not self.qos or self.default_qos in names:
            return True, None
        named = next((one for one in names if one in self.qos), None)
        return named is not None, named


def _default_qos(named: set[str], allowed: frozenset[str]) -> str | None:
    """Without a default of the associations SLURM takes "normal", or the only one there is."""
    if len(named) == 1:
        return named.pop()
    return "normal" if "normal" in allowed else min(allowed, default=None)


def _most(limits: Iterable[_T | None]) -> _T | None:
    """The largest, None where one has no limit."""
    told = list(limits)
    known = [one for one in told if one is not None]
    return max(known) if known and len(known) == len(told) else None


def _rows(text: str, width: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        row = line.strip().split("|")
        if len(row) == width:
            yield row
