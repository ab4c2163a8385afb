"""``/jobs`` among the scheduler's pages: the worker jobs as the batch scheduler has them.

Dask's own pages know workers, not jobs that wait. The page is behind the same guard.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from distributed import Scheduler
from tornado.web import RequestHandler

from hpclaunch.clusters.session import summary

__all__ = ["add_jobs_page"]

_COLUMNS = ("id", "state", "reason", "expected_start", "workers")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Dask worker jobs</title>
<meta http-equiv="refresh" content="5">
<style>body{{font:15px sans-serif;margin:2em}}td,th{{padding:.2em 1em;text-align:left}}</style>
</head><body><h1>Dask worker jobs</h1><p>{summary}</p>
<table><tr>{head}</tr>{rows}</table></body></html>
"""


class _JobsPage(RequestHandler):  # type: ignore[misc]
    """One table."""

    def initialize(self, document: Callable[[], dict[str, Any]]) -> None:
        """Take what `add_jobs_page` gives."""
        self._document = document

    def get(self) -> None:
        """Show it."""
        told = self._document()
        rows = "".join(_row("td", job) for job in told["jobs"])
        names = {name: name.replace("_", " ") for name in _COLUMNS}
        self.finish(
            _PAGE.format(summary=escape(summary(told)), head=_row("th", names)[4:-5], rows=rows)
        )


def _row(cell: str, values: dict[str, Any]) -> str:
    texts = ("" if values[name] is None else str(values[name]) for name in _COLUMNS)
    cells = "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts)
    return f"<tr>{cells}</tr>"


def add_jobs_page(scheduler: Scheduler, document: Callable[[], dict[str, Any]]) -> None:
    """Serve the page on the HTTP server of a started `scheduler`.

    Parameters
    ----------
    scheduler : Scheduler
    document : callable
        Returns what `BatchCluster.document` describes.
    """
    arguments = {"document": document}
    scheduler.http_application.add_handlers(".*$", [("/jobs", _JobsPage, arguments)])
