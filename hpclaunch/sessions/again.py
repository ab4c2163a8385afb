"""A batch job again: what its record keeps, and how a request is made of that."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.activation import environment_name
from hpclaunch.errors import SessionError
from hpclaunch.plan import Plan
from hpclaunch.request import Program, Request
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record

if TYPE_CHECKING:
    from hpclaunch.sites.catalog import LoadedSite

__all__ = ["again", "recipe"]


def recipe(loaded: LoadedSite, plan: Plan, request: Request) -> dict[str, Any] | None:
    """All that is needed to run a batch again, besides profile and script; None for a session.

    See `Record.batch` for its keys.
    """
    if plan.block is None or plan.program is None:
        return None
    content = plan.program.content
    return {
        "script": plan.program.path,
        "arguments": list(plan.program.arguments),
        "sent": content is not None,
        "sha256": None if content is None else hashlib.sha256(content).hexdigest(),
        "ranks": plan.block.ranks,
        "environment": environment_name(loaded, request),
        "request": request.to_dict(),
        "profile_file": str(loaded.path),
        "hpclaunch": version("hpclaunch"),
    }


def again(book: Book, record: Record) -> tuple[LoadedSite, Request]:
    """The site as it was described for a recorded batch, and its request.

    A script that was sent along is the recorded one; one that lies on the site is read there anew.

    Raises
    ------
    SessionError
        If the record is that of a session.
    """
    from hpclaunch.sites.catalog import LoadedSite  # a keeper starts without profiles
    from hpclaunch.sites.model import Site

    if record.batch is None:
        raise SessionError(
            f"{record.name} is a session, no batch job",
            hint="`hpclaunch start` starts another; `hpclaunch list` shows which are batch jobs",
        )
    kept = record.batch
    content = book.program(record.name) if kept["sent"] else None
    program = Program(kept["script"], tuple(kept["arguments"]), content)
    site = Site.model_validate(record.profile)
    return LoadedSite(site, Path(kept["profile_file"])), Request.from_dict(kept["request"], program)
