"""Watch an in-process connection: ask for a sign of life, and tell when it is gone."""

from __future__ import annotations

import contextlib
import threading

import paramiko

from hpclaunch.transports.link import Link

__all__ = ["Pulse"]

_EVERY = 15.0
"""Seconds between two questions; below the idle limits of firewalls."""
_PATIENCE = 30.0
"""Seconds without an answer after which the connection counts as dead."""


class Pulse:
    """Sets `lost` when the connection of `link` ends without `stop`."""

    def __init__(self, link: Link, lost: threading.Event) -> None:
        self._link = link
        self._lost = lost
        self._wanted = True
        self._one = threading.Lock()
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Stop watching; the connection is about to be closed on purpose."""
        self._wanted = False

    def answers(self, timeout: float) -> bool:
        """Whether the site answers within `timeout` seconds."""
        transport = self._link.transport
        if not transport.is_active():
            return False
        asking = threading.Thread(target=self._ask, daemon=True)
        asking.start()
        asking.join(timeout)
        return not asking.is_alive() and transport.is_active()

    def _ask(self) -> None:
        # paramiko keeps one place for the answer, so there is one question at a time.
        with self._one, contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._link.transport.global_request("keepalive@openssh.com", wait=True)

    def _watch(self) -> None:
        transport = self._link.transport
        while transport.is_active():
            transport.join(_EVERY)
            if transport.is_active() and not self.answers(_PATIENCE):
                break
        if self._wanted:
            self._link.close()
            self._lost.set()
