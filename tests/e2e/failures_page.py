"""Write ``docs/failures.md`` from the table of failures: ``python -m tests.e2e.failures_page``."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.failures import FAILURES, HARMLESS, Failure, Harmless

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"

_LONG = " (only `make test-long`)"
_HEAD = """\
# What can go wrong, and what hpclaunch says then

This page is made from the table that the tests run (`tests/e2e/failures.py`); `…` stands for
names, numbers and paths. Every failure below

- is one `error:` with the site's own words, the last lines of the job's log and a `hint:`;
- ends `hpclaunch start` or `hpclaunch batch --wait` with exit code 1, within 5 s of the scheduler
  showing it;
- leaves no job, no secret on the site or the laptop, and no process but a keeper that has other
  live sessions;
- is said again by `hpclaunch why NAME`, until a new session takes the name.

Two limits of the 5 s. A job that has waited in the queue for long is asked about every tenth of
that time, at most once a minute: its cancellation is noticed that late. And a failed job that
takes its time to die is waited for, so that nothing is left.
"""
_BATCHES = """\
`hpclaunch batch --wait` shows the job's log as it comes, and the error behind it. With login,
request and directory the same can go wrong as above."""

_COLUMNS = (
    "| failure | brought about by | `error:` | the site's words | the log | `hint:` | on |",
    "|---|---|---|---|---|---|---|",
)


def page() -> str:
    """The text of the page."""
    sessions = [_row(one) for one in FAILURES if not one.batch]
    batches = [_row(one) for one in FAILURES if one.batch]
    goes_on = [_harmless(one) for one in HARMLESS]
    return "\n".join(
        [
            _HEAD,
            "## Failures",
            "",
            *_COLUMNS,
            *sessions,
            "",
            "## Failures of batch jobs",
            "",
            _BATCHES,
            "",
            *_COLUMNS,
            *batches,
            "",
            "## What is no failure",
            "",
            "The session goes on, or starts as if nothing had been.",
            "",
            "| accident | brought about by | the terminal says |",
            "|---|---|---|",
            *goes_on,
            "",
        ]
    )


def _row(one: Failure) -> str:
    where = ", ".join(site + _LONG * one.is_long(site) for site in one.on)
    cells = [one.title, one.provoked, one.error, one.said, one.log, one.next, where]
    return _cells(cells)


def _harmless(one: Harmless) -> str:
    return _cells([one.title + _LONG * one.long, one.provoked, one.told])


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") or "–" for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page())
