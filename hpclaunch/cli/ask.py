"""Ask the person for a secret, on the terminal and nowhere else."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hpclaunch.errors import LoginNeededError
from hpclaunch.transports.base import Ask

__all__ = ["asker"]


def asker() -> Ask | None:
    """A way to ask, or None where there is no terminal to ask on."""
    return _ask if sys.stdin is not None and sys.stdin.isatty() else None


def _ask(prompt: str, echo: bool) -> str:
    try:
        return _visibly(prompt) if echo else getpass.getpass(prompt)
    except EOFError:
        raise LoginNeededError("the question was not answered") from None


def _visibly(prompt: str) -> str:
    """Ask for what may be seen, on the terminal itself, as `getpass` does for what may not."""
    with _terminal() as (screen, keyboard):
        screen.write(prompt)
        screen.flush()
        line = keyboard.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


@contextlib.contextmanager
def _terminal() -> Iterator[tuple[TextIO, TextIO]]:
    """Where to write and to read; stderr and stdin where terminals have no name (Windows)."""
    with contextlib.ExitStack() as stack:
        try:
            screen: TextIO = stack.enter_context(Path("/dev/tty").open("w"))
            keyboard: TextIO = stack.enter_context(Path("/dev/tty").open())
        except OSError:
            screen, keyboard = sys.stderr, sys.stdin
        yield screen, keyboard
