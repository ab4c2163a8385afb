"""Whether a program runs in a terminal.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

__all__ = ["Process", "Terminals", "read_stat"]


@dataclass(frozen=True)
class Process:
    """A process, as far as terminals are concerned.

    Attributes
    ----------
    pid, group, session : int
    terminal : int
        0 where there is none.
    foreground : int
        The process group in the foreground of its terminal.
    ticks : int
        Time it has computed, in the system's clock ticks.
    """

    pid: int
    group: int
    session: int
    terminal: int
    foreground: int
    ticks: int

    @property
    def leads(self) -> bool:
        """Whether it is the shell of a terminal."""
        return self.pid == self.session


class Terminals:
    """Remembers how much the programs in the background of terminals had computed."""

    def __init__(self) -> None:
        self._ticks: dict[int, int] = {}

    def are_used(self, pids: Iterable[int]) -> bool:
        """Whether one of these processes is a terminal's program.

        That is: a shell that waits for a program in the foreground, or a program in the background
        that has computed since the last call. A prompt's little helpers only sleep.
        """
        here = [process for process in map(_look, pids) if process and process.terminal]
        before, self._ticks = self._ticks, {one.pid: one.ticks for one in here if not one.leads}
        waits = any(one.leads and one.foreground not in (-1, one.group) for one in here)
        works = any(ticks > before.get(pid, ticks) for pid, ticks in self._ticks.items())
        return waits or works


def read_stat(text: str) -> Process:
    """Read ``/proc/PID/stat`` (proc(5)); a name may hold blanks and parentheses."""
    head, _, tail = text.rpartition(")")
    words = tail.split()
    return Process(
        pid=int(head.split(" ", 1)[0]),
        group=int(words[2]),
        session=int(words[3]),
        terminal=int(words[4]),
        foreground=int(words[5]),
        ticks=int(words[11]) + int(words[12]),
    )


def _look(pid: int) -> Optional[Process]:
    """The process, or None where it has ended or nothing tells (macOS)."""
    try:
        with open("/proc/{}/stat".format(pid), encoding="latin-1") as file:
            return read_stat(file.read())
    except OSError:
        return None
