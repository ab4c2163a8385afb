"""The connection of a keeper, and its healing.

TCP itself notices late that a network is back: its retransmissions come ever more seldom, up to
half a minute apart, and ssh gives a silent connection up after 45 s. So the link asks for a sign
of life all the time, and makes a second connection beside one that has fallen silent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hpclaunch.errors import HostKeyError, LoginNeededError, LoginRefusedError, TransportError
from hpclaunch.keeper.patience import Patience
from hpclaunch.transports.base import Ask, Transport

__all__ = ["Link"]

_LOOK = 0.25  # seconds between two looks at the clock
_PULSE = 2.0  # seconds between two signs of life
_SILENCE = 4.0  # seconds without an answer after which a connection counts as silent
_AWAKE = 1.0  # the same for one that was there before the laptop slept: often it is gone
_MOMENT = 0.3  # seconds for a silent connection to answer again
_SLEPT = 5.0  # a gap this long between two looks means that the laptop slept
_AGAIN = 2.0  # seconds after an error that nobody foresaw
_NEEDS_A_PERSON = (LoginNeededError, LoginRefusedError, HostKeyError)
_log = logging.getLogger("hpclaunch.keeper.link")


class Link:
    """Keeps one transport connected for as long as `wanted` says so.

    Parameters
    ----------
    transport : Transport
    name : str
        The host, as the person knows it.
    wanted : callable
        Whether anybody needs the connection; without it nothing is healed.
    went_down : callable
        Called with the reason when the connection is lost or cannot come back.
    came_up : callable
        Called when it is back.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        name: str,
        wanted: Callable[[], bool],
        went_down: Callable[[str], None],
        came_up: Callable[[], None],
    ) -> None:
        self.transport = transport
        self.up = threading.Event()
        self.trouble: str | None = None
        self._name = name
        self._wanted = wanted
        self._went_down = went_down
        self._came_up = came_up
        self._connecting = threading.Lock()
        self._closed = threading.Event()
        self._patience = Patience()
        self._waits_for_a_person = False
        self._thread = threading.Thread(target=self._mind, daemon=True, name="link")

    def start(self) -> None:
        """Begin to mind the connection."""
        self._thread.start()

    def connect(self, ask: Ask | None) -> None:
        """Connect where there is no connection.

        Raises
        ------
        TransportError
            As `Transport.connect`.
        """
        with self._connecting:
            if self.up.is_set() and not self.transport.lost.is_set():
                return
            try:
                self.transport.connect(ask)
            except TransportError as error:
                # Sites count failed logins: where a person is needed none is tried without one.
                self._waits_for_a_person = isinstance(error, _NEEDS_A_PERSON)
                self._down(str(error))
                raise
            self.transport.hold()
            self._is_up()

    def doubt(self) -> None:
        """Somebody's command failed: look whether the connection is still there."""
        if self.up.is_set() and (self.transport.lost.is_set() or not self._answers()):
            self._down(self._what_is_wrong())

    def close(self) -> None:
        """End the connection."""
        self._closed.set()
        self.transport.close()

    def _is_up(self) -> None:
        if self.trouble is not None:
            _log.info("up again")
        self._waits_for_a_person = False
        self.trouble = None
        self.up.set()
        self._came_up()

    def _down(self, why: str) -> None:
        if self.up.is_set():
            self._patience = Patience()
        self.up.clear()
        if self.trouble != why:
            _log.info("down: %s", why)
            self.trouble = why
            self._went_down(why)

    def _what_is_wrong(self) -> str:
        if self.transport.lost.is_set():
            return f"the connection to {self._name} was lost"
        return f"no answer from {self._name}"

    def _answers(self, patience: float = _SILENCE) -> bool:
        """Whether the site gives a sign of life; asked again where the laptop slept meanwhile."""
        asked = time.time()
        if self.transport.is_alive(patience):
            return True
        overslept = time.time() - asked > patience + _SLEPT
        return overslept and self.transport.is_alive(_AWAKE)

    def _mind(self) -> None:
        seen, asked = time.time(), time.monotonic()
        while not self._closed.wait(_LOOK):
            try:
                slept, seen = time.time() - seen > _SLEPT, time.time()
                if slept:
                    self._patience = Patience()
                if self.up.is_set():
                    due = time.monotonic() - asked > _PULSE and self._wanted()
                    patience = _AWAKE if slept else _SILENCE
                    ask = slept or due
                    if self.transport.lost.is_set() or (ask and not self._answers(patience)):
                        self._down(self._what_is_wrong())
                    asked = time.monotonic() if slept or due else asked
                elif self.trouble is not None and self._wanted():
                    self._mend()
                    seen = time.time()
            except Exception:  # nobody else minds the connection: go on, whatever it was
                _log.exception("the connection could not be minded")
                self._closed.wait(_AGAIN)

    def _mend(self) -> None:
        """Take the old connection where it answers again, else try to have a new one."""
        with self._connecting:
            if self.up.is_set():  # a person was faster
                return
            if not self.transport.lost.is_set() and self.transport.is_alive(_MOMENT):
                self._is_up()
                return
            if self._waits_for_a_person or not self._patience.is_over:
                return
            try:
                self.transport.renew(self._patience.for_an_answer)
            except _NEEDS_A_PERSON as error:
                # Tried once: sites count failed logins. The silent one may yet come back.
                self._waits_for_a_person = True
                self._down(f"{self._what_is_wrong()}, and a new login needs you: {error}")
            except TransportError as error:
                _log.info("no new connection: %s", error)
                self._patience.failed(error)
            else:
                self._is_up()
