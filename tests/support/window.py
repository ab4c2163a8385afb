"""A terminal's window, as a person sees it: what a program writes, interpreted by an emulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pexpect
import pyte

__all__ = ["Emulator", "Window"]

_HISTORY = 10_000


class Emulator:
    """A screen of `width` times `height` characters, with what has left it above.

    Parameters
    ----------
    wraps : bool
        Whether lines that are too long for a narrower window are wrapped, as in most terminals,
        or cut.
    """

    def __init__(self, width: int, height: int, *, wraps: bool = True) -> None:
        self.wraps = wraps
        self._open(width, height)

    def _open(self, width: int, height: int) -> None:
        self._screen = pyte.HistoryScreen(width, height, history=_HISTORY, ratio=0.5)
        self._stream = pyte.Stream(self._screen)

    def feed(self, text: str) -> None:
        """What a program writes; the terminal's driver makes two characters of a newline."""
        self._stream.feed(text)

    @property
    def shown(self) -> list[str]:
        """The lines of the screen above the cursor."""
        return [line.rstrip() for line in self._screen.display[: self._screen.cursor.y]]

    @property
    def current(self) -> str:
        """The line of the cursor."""
        return str(self._screen.display[self._screen.cursor.y]).rstrip()

    @property
    def lines(self) -> list[str]:
        """All lines above the cursor, those that have left the screen included."""
        width = self._screen.columns
        gone = [
            "".join(row[column].data for column in range(width)).rstrip()
            for row in self._screen.history.top
        ]
        return gone + self.shown

    def resize(self, width: int, height: int) -> None:
        """Another size of the window."""
        kept, last = self.lines, self.current
        self._open(width, height)
        for line in kept:
            pieces = [line[at : at + width] for at in range(0, len(line), width)] or [""]
            for piece in pieces if self.wraps else pieces[:1]:
                self.feed(piece + "\r\n")
        self.feed(last[:width])


class Window:
    """A program that runs in a terminal."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        width: int = 100,
        height: int = 24,
    ) -> None:
        self._child: Any = pexpect.spawn(
            argv[0],
            list(argv[1:]),
            env=dict(environment),
            encoding="utf-8",
            dimensions=(height, width),
            timeout=60,
        )
        self.emulator = Emulator(width, height)
        self.raw = ""

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close(force=True)

    def _read(self, seconds: float) -> bool:
        """Let the emulator have what comes; False at the end of the program."""
        try:
            text = self._child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += text
        self.emulator.feed(text)
        return True

    def see(self, what: Callable[[list[str]], object], *, timeout: float = 30.0) -> list[str]:
        """Wait until `what` is true of all lines above the cursor, and return them."""
        deadline = time.monotonic() + timeout
        while not what(self.emulator.lines):
            goes_on = self._read(0.05)
            if not goes_on and what(self.emulator.lines):
                break
            if not goes_on or time.monotonic() > deadline:
                shown = "\n".join([*self.emulator.lines, self.emulator.current])
                shown += f"\nrows and columns: {self._child.getwinsize()}, {self.raw[-1000:]!r}"
                raise AssertionError(f"{'not seen' if goes_on else 'it has ended'}:\n{shown}")
        return self.emulator.lines

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, which the program is told."""
        self.emulator.resize(width, height)
        self._child.setwinsize(height, width)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._child.sendintr()

    def end(self) -> int:
        """Wait for the end of the program; its exit code."""
        deadline = time.monotonic() + 60
        while self._read(0.2):
            assert time.monotonic() < deadline, "\n".join(self.emulator.lines)
        self._child.close()
        return int(self._child.exitstatus)
