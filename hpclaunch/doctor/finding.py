"""One line of the report, and the whole of it as text and JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpclaunch.checks.line import in_a_line
from hpclaunch.doctor.redact import Redactor
from hpclaunch.errors import HpclaunchError

__all__ = ["Area", "Finding", "Report", "fault", "fine", "untold"]

Area = Literal["laptop", "login node", "job"]


@dataclass(frozen=True)
class Finding:
    """What was found at one point.

    Attributes
    ----------
    area : {"laptop", "login node", "job"}
    key : str
    result : {"ok", "problem", "unknown"}
    found : str
    next : str
        What to do about a problem; else empty.
    """

    area: Area
    key: str
    result: Literal["ok", "problem", "unknown"]
    found: str
    next: str = ""


def fine(area: Area, key: str, found: str) -> Finding:
    """Nothing is wrong there."""
    return Finding(area, key, "ok", found)


def untold(area: Area, key: str, why: str) -> Finding:
    """It could not be told."""
    return Finding(area, key, "unknown", why)


def fault(area: Area, key: str, found: str | HpclaunchError, next: str = "") -> Finding:
    """Something is wrong, and what to do; an error brings both along, and the site's words."""
    if not isinstance(found, HpclaunchError):
        return Finding(area, key, "problem", found, next)
    said = in_a_line(found.said or "")
    words = f"{found.what}: {said}" if said else found.what
    return Finding(area, key, "problem", words, next or found.hint)


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes
    ----------
    version : str
        Of hpclaunch.
    site : str
    taken : str
        When, ISO 8601.
    findings : sequence of Finding
    """

    version: str
    site: str
    taken: str
    findings: Sequence[Finding]

    @property
    def has_problem(self) -> bool:
        """Whether any line is a problem."""
        return any(one.result == "problem" for one in self.findings)

    def text(self, redactor: Redactor) -> str:
        """The report for people."""
        lines = [f"hpclaunch {self.version} doctor, site {redactor(self.site)}, {self.taken}"]
        width = max((len(one.key) for one in self.findings), default=0)
        area = ""
        for one in self.findings:
            if one.area != area:
                area = one.area
                lines += ["", area]
            lines.append(f"  {one.result:<7}  {one.key.ljust(width)}  {redactor(one.found)}")
            if one.next:
                lines.append(f"  {'':<7}  {''.ljust(width)}  next: {redactor(one.next)}")
        number = sum(one.result == "problem" for one in self.findings)
        lines += ["", f"{number} problem{'s' if number > 1 else ''}" if number else "no problem"]
        return "\n".join(lines)

    def to_dict(self, redactor: Redactor) -> dict[str, Any]:
        """The report for programs."""
        rows = [
            {**asdict(one), "found": redactor(one.found), "next": redactor(one.next)}
            for one in self.findings
        ]
        return {
            "hpclaunch": self.version,
            "site": redactor(self.site),
            "taken": self.taken,
            "lines": rows,
        }
