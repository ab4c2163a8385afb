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
        self._news = threading.Condition()
        self._asking = False
        self.heard = 0
        """Answers so far. One that comes late is as good a sign of life as any."""
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Stop watching; the connection is about to be closed on purpose."""
        self._wanted = False

    def answers(self, timeout: float, since: int | None = None) -> bool:
        """Whether the site answers within `timeout` seconds.

        Parameters
        ----------
        since : int, optional
            The number of answers `heard` before; one that came since then will do. By default
            one that comes from now on.
        """
        transport = self._link.transport
        with self._news:
            since = self.heard if since is None else since
            # paramiko keeps one place for the answer, so there is one question at a time: one
            # that was asked before is asked for all who wait.
            if self.heard <= since and not self._asking and transport.is_active():
                self._asking = True
                threading.Thread(target=self._ask, daemon=True).start()
            self._news.wait_for(lambda: self.heard > since or not self._asking, timeout)
            return self.heard > since and transport.is_active()

    def _ask(self) -> None:
        transport, answered = self._link.transport, False
        try:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                # None is an answer too (sshd knows no such request), but for a dead connection.
                transport.global_request("keepalive@openssh.com", wait=True)
                answered = transport.is_active()
        finally:
            with self._news:
                self.heard += answered
                self._asking = False
                self._news.notify_all()

    def _watch(self) -> None:
        transport = self._link.transport
        while transport.is_active():
            transport.join(_EVERY)
            if transport.is_active() and not self.answers(_PATIENCE):
                break
        if self._wanted:
            self._link.close()
            self._lost.set()
