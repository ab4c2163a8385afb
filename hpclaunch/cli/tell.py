"""How progress reaches the person: on stderr, with a spinner on a terminal only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["Progress", "table", "tell", "through"]


_printer: Callable[[str], None] | None = None


def tell(line: str) -> None:
    """Print one line for the person."""
    if _printer is not None:
        _printer(line)
    else:
        print(line, file=sys.stderr, flush=True)


def through(printer: Callable[[str], None] | None) -> None:
    """Have `printer` print what is told, because it knows what else is on the terminal."""
    global _printer
    _printer = printer


class Progress:
    """Lines of progress with the seconds since the start; a context manager.

    On a terminal the newest line has a spinner; elsewhere lines are just printed.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._status: Status | None = None
        self._last: str | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pause()

    def __call__(self, line: str) -> None:
        """Tell the next thing."""
        stamped = f"{time.monotonic() - self._began:6.1f} s  {line}"
        if self._status is None:
            self._status = _spinner()
        if self._status is None:
            tell(stamped)
            return
        from rich.markup import escape

        if self._last is not None:
            self._status.console.print(escape(self._last))
        self._last = stamped
        self._status.update(escape(f"{line} …"))

    def pause(self) -> None:
        """Let go of the terminal, so that somebody can ask a question; lines stay.

        The next line takes it again.
        """
        if self._status is not None:
            self._status.stop()
            if self._last is not None:
                tell(self._last)
            self._status, self._last = None, None


def _spinner() -> Status | None:
    """A spinner that turns, where there is a terminal for it."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console

    status = Console(stderr=True, highlight=False).status("", spinner="dots")
    status.start()
    return status


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, two blanks apart."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
