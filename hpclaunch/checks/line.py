"""One claim of a profile, and what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hpclaunch.sites.layers import Place

__all__ = ["Fix", "Line", "Result", "differs", "holds", "in_a_line", "unknown", "verdict"]

_WORDS = 300  # characters of a site's words that are kept

Result = Literal["holds", "differs", "unknown"]


@dataclass(frozen=True)
class Fix:
    """How the profile would say what was found.

    Attributes
    ----------
    place : tuple of str
        Tables and key; an entry of a list counts as a table named by its index.
    value : object
        As TOML has it; None removes what stands there.
    """

    place: Place
    value: Any = None


@dataclass(frozen=True)
class Line:
    """What came of one claim.

    Attributes
    ----------
    key : str
        Where the claim stands in the profile, queues by their names (``queues.compute.max_nodes``),
        or one of ``profile, login, forwarding, job, reach``.
    result : {"holds", "differs", "unknown"}
    found : str
        What was found, or why it could not be told.
    fix : Fix or None
        Of a claim that differs, where the profile can be made to agree.
    """

    key: str
    result: Result
    found: str
    fix: Fix | None = None

    def to_dict(self) -> dict[str, str]:
        """As ``site check --json`` prints it."""
        return {"key": self.key, "result": self.result, "found": self.found}


def holds(key: str, found: str) -> Line:
    """The site is as the profile says."""
    return Line(key, "holds", found)


def differs(key: str, found: str, fix: Fix | None = None) -> Line:
    """The site is otherwise."""
    return Line(key, "differs", found, fix)


def unknown(key: str, why: str) -> Line:
    """It could not be told."""
    return Line(key, "unknown", why)


def in_a_line(said: str) -> str:
    """A site's words, in one line that is not too long."""
    return " ".join(said.split())[:_WORDS]


def verdict(lines: Iterable[Line]) -> int:
    """The exit code: 1 where something differs, else 0."""
    return int(any(line.result == "differs" for line in lines))
