"""A few lines at the end of the terminal that are drawn anew in place.

Rich knows terminals and the width of characters; where the lines stand is kept here. Its own live
display counts on lines that a narrower window has not wrapped, and then draws over them askew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from hpclaunch.cli.tell import through

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Board", "board_here"]

_UP, _ERASE_DOWN = "\x1b[{}A", "\x1b[J"


def board_here() -> Board | None:
    """A board, where stderr is a terminal that can be drawn on and nobody wants plain lines."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        return None
    from rich.console import Console

    console = Console(stderr=True)
    usable = console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows
    return Board(console) if usable else None


class Board:
    """Lines that stay at the end of what the terminal shows; a context manager.

    Below them is the cursor, so that an echo such as ``^C`` spoils none of them. What is told
    meanwhile appears above. At the end they are left as they are.

    Parameters
    ----------
    console : rich.console.Console
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: Callable[[int], Sequence[str]] = lambda _: ()
        self._drawn: list[str] = []
        self._size = console.size

    def __enter__(self) -> Board:
        through(self.tell)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        through(None)
        self._draw()  # over the echo of an interrupt

    def show(self, lines: Callable[[int], Sequence[str]]) -> None:
        """Draw other lines: those that `lines` gives for the number of rows that there are."""
        self._lines = lines
        self.keep()

    def keep(self) -> None:
        """Draw anew, if that changes anything."""
        if self._fitting() != self._drawn or self._console.size != self._size:
            self._draw()

    def tell(self, line: str) -> None:
        """Print a line above."""
        self._draw(line + "\n")

    def _draw(self, above: str = "") -> None:
        back = self._back()
        self._size, self._drawn = self._console.size, self._fitting()
        # In one piece, so that nothing comes between.
        self._console.file.write(back + above + "".join(line + "\n" for line in self._drawn))
        self._console.file.flush()

    def _back(self) -> str:
        """To where the lines begin, with nothing from there on."""
        from rich.cells import cell_len

        if not self._drawn:
            return ""
        if max(map(cell_len, self._drawn)) > self._console.size.width:
            # The window has got narrower, and may have wrapped them or not: they stay behind.
            return ""
        return "\r" + _UP.format(len(self._drawn)) + _ERASE_DOWN

    def _fitting(self) -> list[str]:
        """The lines as far as the window has room for them, and for the cursor."""
        from rich.text import Text

        width, height = self._console.size
        found = []
        for line in self._lines(max(1, height - 1))[: max(1, height - 1)]:
            text = Text("".join(char if char.isprintable() else "\ufffd" for char in line))
            text.truncate(max(1, width - 1), overflow="ellipsis")
            found.append(text.plain)
        return found
