"""SSH in process, by paramiko: for laptops whose ssh cannot share a connection, or when asked.

One connection, made and kept by this process; commands, forwards and the answers to questions
all go through it. Nothing here needs POSIX.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import paramiko

from hpclaunch.errors import TransportError, UnreachableError
from hpclaunch.shell import Completed
from hpclaunch.transports.base import Ask, Endpoint, Frame
from hpclaunch.transports.channels import converse
from hpclaunch.transports.forwarder import Forwarder
from hpclaunch.transports.limits import SESSIONS, SILENCE, busy, silent, timed_out
from hpclaunch.transports.link import WINDOW, Link, open_link
from hpclaunch.transports.pulse import Pulse
from hpclaunch.transports.sockets import check_directory
from hpclaunch.transports.target import Target

__all__ = ["ParamikoSSH"]

_MOMENT = 0.4
"""Seconds for an echo."""
_FADE = 2.0
"""Seconds of silence after which a connection that was replaced is closed, with what runs through
it: pages that it keeps waiting could go on over the new one."""


class ParamikoSSH:
    """A transport over one SSH connection in this process.

    Parameters
    ----------
    target : Target
        Where to log in.
    control_dir : Path
        A directory of mode 0700 with a short path, for the sockets of forwards.

    Examples
    --------
    >>> site = ParamikoSSH(Target("login.example.org"), Path("/run/user/1000/hl"))  # doctest: +SKIP
    >>> site.connect(ask)  # doctest: +SKIP
    """

    def __init__(self, target: Target, control_dir: Path) -> None:
        self._target = target
        self._control_dir = control_dir
        self._guard = threading.RLock()
        self._slots = threading.BoundedSemaphore(SESSIONS)
        self._forwards: dict[tuple[str, int], Forwarder] = {}
        self._link: Link | None = None
        self._pulse: Pulse | None = None
        self._forwarded: weakref.WeakSet[paramiko.Channel] = weakref.WeakSet()
        self._replaced: set[Link] = set()
        self.lost = threading.Event()
        """Set when the connection has ended by itself; see `Transport`."""

    def connect(self, ask: Ask | None = None) -> None:
        """Log in, asking by `ask` in the calling thread; see `Transport.connect`."""
        with self._guard:
            if self._usable(ask):
                return
            check_directory(self._control_dir, len("p-") + 12)
            self._drop()
            self._go_on_with(open_link(self._target, ask))

    def renew(self, patience: float) -> None:
        """Make a second connection beside a silent one; see `Transport.renew`.

        Forwarders stay: they carry new callers over whatever connection there is.
        """
        old, pulse = self._link, self._pulse
        since = 0 if pulse is None else pulse.heard
        if pulse is not None and pulse.answers(_MOMENT):
            return
        link = open_link(replace(self._target, connect_timeout=patience), None)
        with self._guard:
            if self._link is old and not (pulse and pulse.answers(2 * _MOMENT, since)):
                self._go_on_with(link)
                return
        link.close()  # the old one was faster, or a person was: what runs through it need not break

    def hold(self) -> None:
        """Do nothing: the connection lives as long as this process, and is watched."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run `argv` on the login node; see `Transport.run`."""
        frame = Frame.around(argv, self._target.prologue)
        deadline = time.monotonic() + timeout
        if not self._slots.acquire(timeout=timeout):
            raise busy(self._target, frame, timeout)
        try:
            channel = self._session(frame, deadline)
            with contextlib.closing(channel):
                out, err = converse(channel, frame, stdin, deadline)
        except TimeoutError:
            raise timed_out(frame, timeout) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._require(error)
            raise TransportError("the site refused the command", said=str(error)) from error
        finally:
            self._slots.release()
        if not frame.ended(out):
            self._require(None)
        return frame.unwrap(out, err)

    def forward(self, host: str, port: int) -> Endpoint:
        """Listen on a UNIX socket, or a port on Windows; see `Transport.forward`."""
        with self._guard:
            known = self._forwards.get((host, port))
            if known is None:
                self._transport()
                known = Forwarder(self._socket(host, port), host, port, self._open_channel)
                self._forwards[host, port] = known
            return known.endpoint

    def unforward(self, host: str, port: int) -> None:
        """Stop listening for `host`:`port`; see `Transport.unforward`."""
        with self._guard:
            forwarder = self._forwards.pop((host, port), None)
        if forwarder is not None:
            forwarder.close()

    def is_alive(self, timeout: float = 5.0) -> bool:
        """Whether the site answers through the connection, within `timeout` seconds."""
        return self._answers(timeout)

    def close(self) -> None:
        """End the connection and every forward; see `Transport.close`."""
        with self._guard:
            for forwarder in self._forwards.values():
                forwarder.close()
            self._forwards.clear()
            self._drop()
            for link in list(self._replaced):
                link.close()

    def _answers(self, timeout: float) -> bool:
        pulse = self._pulse
        return pulse is not None and pulse.answers(timeout)

    def _usable(self, ask: Ask | None) -> bool:
        """Whether there is a connection that the site answers through.

        One that does not answer may come back with the network. A person who waits may have a
        new one instead; nobody else may throw it away.
        """
        if self._link is None or not self._link.transport.is_active():
            return False
        if self._answers(SILENCE):
            return True
        if ask is None and self._link.transport.is_active():
            raise silent(self._target)
        return False

    def _drop(self) -> None:
        """End the connection we have."""
        old, pulse = self._link, self._pulse
        if pulse is not None:
            pulse.stop()
        self._link = self._pulse = None
        if old is not None:
            old.close()

    def _go_on_with(self, fresh: Link) -> None:
        """Use a fresh connection. What runs through the old one may outlive its silence."""
        old, pulse = self._link, self._pulse
        if pulse is not None:
            pulse.stop()
        self.lost.clear()
        self._link, self._pulse = fresh, Pulse(fresh, self.lost)
        if old is not None and pulse is not None:
            self._replaced.add(old)
            threading.Thread(target=self._fade, args=(old, pulse), daemon=True).start()

    def _fade(self, old: Link, pulse: Pulse) -> None:
        """Close a connection that was replaced, once it carries nothing or stays silent."""
        heard = time.monotonic()
        while self._carries(old) and time.monotonic() - heard < _FADE:
            if pulse.answers(1.0):
                heard = time.monotonic()
                time.sleep(1.0)
        old.close()
        self._replaced.discard(old)

    def _carries(self, link: Link) -> bool:
        """Whether the connection is there, and something is forwarded through it."""
        transport = link.transport
        with self._guard:
            through = [one for one in self._forwarded if one.get_transport() is transport]
        return transport.is_active() and not all(one.closed for one in through)

    def _transport(self) -> paramiko.Transport:
        link = self._link
        if link is None or not link.transport.is_active():
            raise self._gone(None)
        return link.transport

    def _session(self, frame: Frame, deadline: float) -> paramiko.Channel:
        """Open a session and start `frame` in it; wait where the site has no session left."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                channel = self._transport().open_session(window_size=WINDOW, timeout=left)
                break
            except paramiko.SSHException as error:
                # Not only ChannelException: with several threads paramiko may lose the reason.
                self._require(error)
                if left < 1:
                    raise
                time.sleep(0.5)
        channel.exec_command(frame.command_line())
        return channel

    def _open_channel(self, host: str, port: int, timeout: float) -> paramiko.Channel:
        channel = self._transport().open_channel(
            "direct-tcpip", (host, port), ("127.0.0.1", 0), window_size=WINDOW, timeout=timeout
        )
        with self._guard:
            self._forwarded.add(channel)
        return channel

    def _socket(self, host: str, port: int) -> Path | None:
        if sys.platform == "win32":
            return None
        name = hashlib.sha256(f"{self._target.key} {host} {port}".encode()).hexdigest()[:12]
        return self._control_dir / f"p-{name}"

    def _require(self, error: Exception | None) -> None:
        """Raise `UnreachableError` if the connection is gone."""
        link = self._link
        if link is None or not link.transport.is_active():
            raise self._gone(error)

    def _gone(self, error: Exception | None) -> UnreachableError:
        if self._link is None:
            return UnreachableError(f"there is no connection to {self._target}")
        self.lost.set()
        return UnreachableError(
            f"the connection to {self._target} is lost",
            said=None if error is None else str(error),
            hint="log in again; sessions on the site go on",
        )
