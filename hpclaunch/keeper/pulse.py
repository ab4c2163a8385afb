"""Hear at once when a server that answered is no more.

Between two queries of the scheduler may lie a minute. So every session that answers has one
connection through its own tunnel, held open: it ends with the server, and a question over it now
and then shows a node that fell silent. Then the scheduler is asked at once, and again and again
for a while. A server that only pauses costs some queries, nothing else.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import time

from hpclaunch.keeper.link import Link
from hpclaunch.keeper.register import Register, Watched
from hpclaunch.node.layout import PULSE_PAGE
from hpclaunch.sessions.record import Record

__all__ = ["Pulse"]

_LOOK = 0.5  # seconds between two looks at the held connections
_PAUSE = 5.0  # seconds between two questions
_PATIENCE = 3.0  # seconds for an answer
_ASK_AGAIN = 2.0  # seconds between two queries of the scheduler while a server is silent
_ALARM = 180.0  # seconds of silence after which the usual pace is enough again


class _Line:
    """The held connection of one session."""

    def __init__(self) -> None:
        self.wire: http.client.HTTPConnection | None = None
        self.asked = 0.0
        self.alarmed = 0.0
        self.silent_since: float | None = None

    def close(self) -> None:
        """Hang up."""
        if self.wire is not None:
            with contextlib.suppress(OSError):
                self.wire.close()
        self.wire = None


class Pulse:
    """Feels the pulse of the sessions that answer.

    Parameters
    ----------
    register : Register
    link : Link
        While it is down, silence says nothing of a server.
    """

    def __init__(self, register: Register, link: Link) -> None:
        self._register = register
        self._link = link
        self._lines: dict[str, _Line] = {}

    def feel(self) -> bool:
        """Look at every session that answers; False if there is none."""
        batch = self._register.batch(lambda _, record: bool(record.tunnel and record.port))
        for nonce in set(self._lines) - {record.nonce for _, record in batch}:
            self._lines.pop(nonce).close()
        for watched, record in batch:
            self._look(self._lines.setdefault(record.nonce, _Line()), watched, record)
        if batch:
            time.sleep(_LOOK)
        return bool(batch)

    def _look(self, line: _Line, watched: Watched, record: Record) -> None:
        now = time.monotonic()
        if not _has_ended(line) and now - line.asked < _PAUSE and line.silent_since is None:
            return
        line.asked = now
        if _answers(line, record, self._register.book.token(record.name)):
            line.silent_since = None
            return
        if not self._link.up.is_set():
            return
        line.silent_since = line.silent_since or now
        if now - line.silent_since < _ALARM and now - line.alarmed >= _ASK_AGAIN:
            line.alarmed = now
            watched.look_closely()


def _has_ended(line: _Line) -> bool:
    """Whether the other end hung up; nothing else comes without a question."""
    wire = line.wire
    return wire is not None and (
        wire.sock is None or bool(select.select([wire.sock], [], [], 0)[0])
    )


def _answers(line: _Line, record: Record, token: str) -> bool:
    """Ask over the held connection, over a new one where it has ended.

    The page knows us by it: a connection that only feels the pulse is no use of the session.
    """
    if _has_ended(line):
        line.close()
    try:
        if line.wire is None:
            line.wire = http.client.HTTPConnection("127.0.0.1", record.port, timeout=_PATIENCE)
        line.wire.request("GET", PULSE_PAGE, headers={"Authorization": f"token {token}"})
        reply = line.wire.getresponse()
        reply.read()
    except (OSError, http.client.HTTPException):
        line.close()
        return False
    return reply.status == http.client.OK  # the tunnel's own end answers 502 for a server it lost
