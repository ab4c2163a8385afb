"""The system's ssh as a transport: one authenticated connection, shared by everything.

Kerberos, security keys, certificates, ProxyJump and Include all work, because it is the user's
own ssh. Linux and macOS only: OpenSSH for Windows cannot share a connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from hpclaunch.errors import LoginNeededError, TransportError, UnreachableError
from hpclaunch.shell import Completed
from hpclaunch.transports.base import Ask, Endpoint, Frame
from hpclaunch.transports.lifeline import Lifeline
from hpclaunch.transports.limits import SESSIONS, SILENCE, busy, silent
from hpclaunch.transports.master import Master
from hpclaunch.transports.pipes import Said, exchange
from hpclaunch.transports.target import Target

__all__ = ["OpenSSH"]

_MOMENT = 0.4
"""Seconds for an echo."""
_SHELL = 3.0
"""Seconds for a login shell that runs nothing."""
_BUSY = (b"Session open refused by peer", b"session request failed")


class OpenSSH:
    """A transport over one ControlMaster connection of the system's ssh.

    Any process of the same user that makes an `OpenSSH` of an equal target and the same
    `control_dir` shares the connection. It ends 60 s after its last use, unless held.

    Parameters
    ----------
    target : Target
        Where to log in.
    control_dir : Path
        A directory of mode 0700 with a short path, for sockets and ssh's log.

    Examples
    --------
    >>> site = OpenSSH(Target("login.example.org"), Path("/run/user/1000/hl"))  # doctest: +SKIP
    >>> site.connect(ask)  # doctest: +SKIP
    >>> site.run(["squeue", "--me"]).stdout  # doctest: +SKIP
    """

    def __init__(self, target: Target, control_dir: Path) -> None:
        self._target = target
        self._master = Master(target, control_dir)
        self._guard = threading.RLock()
        self._slots = threading.BoundedSemaphore(SESSIONS)
        self._forwards: dict[tuple[str, int], Path] = {}
        self._lifeline: Lifeline | None = None
        self._holding = False
        self._wanted = False
        self.lost = threading.Event()
        """Set when the connection has ended by itself; see `Transport`."""

    def connect(self, ask: Ask | None = None) -> None:
        """Log in, or find the live connection; see `Transport.connect`.

        ssh asks on this process's own terminal; `ask` only says that it may. Without a terminal
        in the foreground nothing is asked.
        """
        with self._guard:
            self._master.check_directory()
            with self._one_at_a_time(ask):
                if not self._usable(ask):
                    self._drop_lifeline()
                    self._master.start(ask=ask is not None)
            self._resume()

    def renew(self, patience: float) -> None:
        """Make a second connection beside a silent one; see `Transport.renew`."""
        with self._one_at_a_time(None):
            if not (self._master.runs() and self._answers(self._moment)):
                self._replace(patience)
            with self._guard:
                self._resume()

    def hold(self) -> None:
        """Keep the connection while this process lives, and watch it; see `Transport.hold`."""
        with self._guard:
            self._holding = True
            if self._lifeline is None or not self._lifeline.up:
                self._lifeline = Lifeline(self._master, self.lost)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run `argv` on the login node; see `Transport.run`."""
        frame = Frame.around(argv, self._target.prologue)
        command = self._master.client("-T", "--", self._target.host, frame.command_line())
        deadline = time.monotonic() + timeout
        if not self._slots.acquire(timeout=timeout):
            raise busy(self._target, frame, timeout)
        try:
            while True:
                said = exchange(command, frame, stdin, max(0.1, deadline - time.monotonic()))
                if not _no_session(said) or time.monotonic() + 1 > deadline:
                    break
                time.sleep(0.5)  # nothing has run yet: the site had no session left for us
        finally:
            self._slots.release()
        if said.exit == 255 and not frame.ended(said.stdout):
            self._require()
        return frame.unwrap(said.stdout, said.stderr)

    def forward(self, host: str, port: int) -> Endpoint:
        """Open a UNIX socket that leads to `host`:`port`; see `Transport.forward`."""
        with self._guard:
            name = hashlib.sha256(f"{self._target.key} {host} {port}".encode()).hexdigest()[:12]
            path = self._master.control_dir / f"f-{name}"
            self._open(path, host, port)
            self._forwards[host, port] = path
            return Endpoint(path=str(path))

    def unforward(self, host: str, port: int) -> None:
        """Close the socket that leads to `host`:`port`; see `Transport.unforward`."""
        with self._guard:
            path = self._forwards.pop((host, port), None)
            if path is not None:
                self._master.command("cancel", "-L", _way(path, host, port))
                path.unlink(missing_ok=True)

    def is_alive(self, timeout: float = 5.0) -> bool:
        """Whether the site answers through the connection, within `timeout` seconds."""
        return self._answers(timeout)

    def close(self) -> None:
        """End the connection, for every process that shares it; see `Transport.close`."""
        with self._guard:
            self._wanted = self._holding = False
            self._drop_lifeline()
            with contextlib.suppress(UnreachableError):
                self._master.command("exit")
            for path in [*self._forwards.values(), self._master.path, self._master.log]:
                path.unlink(missing_ok=True)
            self._forwards.clear()

    def _resume(self) -> None:
        """Go on with the connection that the standard socket leads to now."""
        self._wanted = True
        self.lost.clear()
        for (host, port), path in self._forwards.items():
            self._open(path, host, port)
        if self._holding:
            self.hold()

    def _replace(self, patience: float) -> None:
        """Put a new connection in the place of the one that is silent or gone."""
        self._master.check_directory()
        fresh = self._master.beside()
        fresh.start(ask=False, patience=patience)
        lifeline = self._lifeline
        if lifeline is not None and lifeline.up and lifeline.answers(2 * _MOMENT):
            fresh.end()  # the old one was faster; what runs through it need not break
            return
        with self._guard:  # who finds the old one gone waits for the new one, see `_require`
            self._drop_lifeline(patience=0.0)
            self._master.end()
            fresh.move_to(self._master)

    @property
    def _moment(self) -> float:
        """Seconds for one sign of life: an echo is fast, a new shell is not."""
        echoes = self._lifeline is not None and self._lifeline.up
        return _MOMENT if echoes else _SHELL

    def _answers(self, timeout: float) -> bool:
        lifeline = self._lifeline
        if lifeline is not None and lifeline.up:
            return lifeline.answers(timeout)
        if not self._master.runs():
            return False
        try:
            return self.run(["true"], timeout=timeout).exit == 0
        except TransportError:
            return False

    def _usable(self, ask: Ask | None) -> bool:
        """Whether there is a connection that the site answers through.

        One that does not answer may come back with the network, or ends by itself after 45 s.
        A person who waits may have a new one instead; nobody else may throw it away.
        """
        if not self._master.runs():
            return False
        if self._answers(SILENCE):
            return True
        if not self._master.runs():
            return False
        if ask is None:
            raise silent(self._target)
        self._master.command("exit")
        return False

    def _open(self, path: Path, host: str, port: int) -> None:
        done = self._forward_command("forward", path, host, port)
        if done.returncode == 0 and not path.exists():
            # ssh remembers a forward whose socket someone removed: have it forget, then anew.
            self._forward_command("cancel", path, host, port)
            done = self._forward_command("forward", path, host, port)
        if done.returncode != 0:
            self._require()
            raise TransportError(f"ssh could not open a forward to {host}:{port}", said=done.stderr)

    def _forward_command(
        self, name: str, path: Path, host: str, port: int
    ) -> subprocess.CompletedProcess[str]:
        return self._master.command(name, "-L", _way(path, host, port))

    def _require(self) -> None:
        """Raise `UnreachableError` if the connection is gone."""
        with self._guard:  # not while one connection takes the place of another
            if self._master.runs():
                return
            if not self._wanted:
                raise UnreachableError(f"there is no connection to {self._target}")
            self.lost.set()
        raise UnreachableError(
            f"the connection to {self._target} is lost",
            said=self._master.words(),
            hint="log in again; sessions on the site go on",
        )

    def _drop_lifeline(self, patience: float = 2.0) -> None:
        if self._lifeline is not None:
            self._lifeline.close(patience)
            self._lifeline = None

    @contextlib.contextmanager
    def _one_at_a_time(self, ask: Ask | None) -> Iterator[None]:
        """Hold the lock that keeps two processes from logging in at the same time."""
        patience = -1 if ask is not None else self._target.connect_timeout
        lock = FileLock(self._master.path.with_suffix(".lock"), mode=0o600)
        try:
            with lock.acquire(timeout=patience):
                yield
        except Timeout:
            raise LoginNeededError(
                f"another hpclaunch is still logging in to {self._target}",
                hint="finish that login, then try again",
            ) from None


def _way(path: Path, host: str, port: int) -> str:
    """Return the argument of ``-L``; an IPv6 address stands in brackets."""
    return f"{path}:[{host}]:{port}" if ":" in host else f"{path}:{host}:{port}"


def _no_session(said: Said) -> bool:
    return said.exit == 255 and any(word in said.stderr for word in _BUSY)
