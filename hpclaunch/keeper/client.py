"""The commands' side of the keeper: start it where none runs, and talk to it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from hpclaunch import paths
from hpclaunch.errors import HpclaunchError, KeeperError, LoginNeededError, TransportError
from hpclaunch.keeper.address import call_keeper, run_dir
from hpclaunch.sessions.way import Way
from hpclaunch.shell import Completed
from hpclaunch.transports.base import Ask, Transport

__all__ = ["KeeperClient"]

_START_TIMEOUT = 20.0  # seconds; importing the transport on a cold disk is the slow part


class KeeperClient:
    """One conversation with the keeper of a site; a context manager.

    While it is open the keeper stays, also without sessions.

    Parameters
    ----------
    way : Way
        The way to the site.
    start : bool
        Start a keeper where none runs: in the background, with OpenSSH once `connect` has made
        the connection for it.

    Raises
    ------
    KeeperError
        If no keeper runs and none shall be started. One that does not start is an error of what
        first needs it.
    """

    def __init__(self, way: Way, *, start: bool = True) -> None:
        self.way = way
        self.folder = run_dir(way)
        found = call_keeper(self.folder)
        if found is None and not start:
            raise KeeperError(f"no keeper runs for {way}")
        self._found: Connection | None = found
        self._starting: Future[Connection] | None = None
        self._shared: Transport | None = None  # what the keeper will hold, until it is there
        self._adopting = threading.Lock()
        self._to_adopt: list[str] | None = None  # what a keeper that is starting is told then
        if found is not None and start:
            with contextlib.suppress(KeeperError):  # it is just ending
                self.status()
                return
            self._found = None
        if self._found is None and way.kind != "openssh":  # see `connect`
            self._starting = _later(self._start)

    def __enter__(self) -> KeeperClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._found is not None or self._starting is not None:
            with contextlib.suppress(HpclaunchError):
                self._connection.close()
        elif self._shared is not None:
            self._hang_up(self._shared)

    def connect(self, ask: Ask | None) -> None:
        """Make sure that there is a live connection to the site, and that the keeper has it.

        The prompting is done here, by the calling command: OpenSSH asks on this terminal itself,
        and its connection is at hand before there is a keeper. paramiko's questions come through
        the keeper.

        Raises
        ------
        TransportError
            As `Transport.connect` does.
        """
        if self._found is not None and self.status()["connected"]:
            return
        if self.way.kind == "openssh":
            from hpclaunch.transports.factory import make_transport

            shared = make_transport(self.way.kind, self.way.target, self.folder)
            if self._found is None:
                with self._no_other():  # a keeper that ends takes its connection along
                    pass
                self._shared = shared
            shared.connect(ask)
            if self._found is None:
                self._to_adopt = self._to_adopt or []
                self._starting = _later(self._introduce)
                return
        _have_connected(self._connection, self.way, ask)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run `argv` on the login node, as `Transport.run` does."""
        if self._shared is not None and self._starting is not None and not self._starting.done():
            return self._shared.run(argv, stdin=stdin, timeout=timeout)
        reply = self._request(
            "run", argv=list(argv), stdin=base64.b64encode(stdin).decode(), timeout=timeout
        )
        return Completed.of(argv, reply["exit"], reply["stdout"], reply["stderr"])

    def adopt(self, name: str) -> None:
        """Have the keeper watch the session of that name from now on, and hold its tunnel.

        One that is still starting does so as soon as it is there.
        """
        with self._adopting:
            if self._to_adopt is not None:
                self._to_adopt.append(name)
                return
        self._request("adopt", name=name)

    def release(self, name: str) -> None:
        """Have the keeper let go of a session: no more watching, no tunnel."""
        self._request("release", name=name)

    def alive(self) -> bool:
        """Make sure that a keeper is there; start another where it went away.

        The new one gets a connection where that needs nobody to be asked; else its sessions stay
        unreachable until somebody attaches.

        Returns
        -------
        bool
            Whether another had to be started.
        """
        try:
            self.status()
        except TransportError:
            return False  # it is there, and has no connection
        except KeeperError:
            self._found = None
            with contextlib.suppress(TransportError):
                self.connect(None)
            return True
        return False

    def status(self) -> dict[str, Any]:
        """``{"pid", "connected", "trouble", "sessions"}``."""
        return self._request("status")

    def _request(self, op: str, **fields: Any) -> dict[str, Any]:
        return _converse(self._connection, self.way, {"op": op, **fields})

    @property
    def _connection(self) -> Connection:
        """The conversation; waits for a keeper that is starting.

        Raises
        ------
        KeeperError
            If it did not start.
        """
        if self._starting is not None:
            starting, self._starting = self._starting, None
            self._found = starting.result()
        if self._found is None:
            self._found = self._start()
        return self._found

    def _introduce(self) -> Connection:
        """Have a new keeper take the connection over that we have made."""
        self._found = connection = self._start()
        try:
            _have_connected(connection, self.way, None)
        finally:  # without it, too: the keeper tells the sessions why, and mends it
            with self._adopting:
                for name in self._to_adopt or ():
                    _converse(connection, self.way, {"op": "adopt", "name": name})
                self._to_adopt = None
        return connection

    def _hang_up(self, shared: Transport) -> None:
        """End a connection that no keeper has taken over; there was an error or an interrupt."""
        with contextlib.suppress(HpclaunchError), self._no_other():
            if call_keeper(self.folder) is None:
                shared.close()

    @contextlib.contextmanager
    def _no_other(self) -> Iterator[None]:
        """Hold the lock of whoever starts a keeper; an ending one holds it too, to its last.

        Raises
        ------
        KeeperError
            If it is not to be had.
        """
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=2 * _START_TIMEOUT)
        except Timeout:
            raise KeeperError(
                f"another hpclaunch is still starting or ending the keeper for {self.way}",
                hint="try again in a moment",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _start(self) -> Connection:
        """Start the keeper, one only, and wait until it answers."""
        with self._no_other():
            if (running := call_keeper(self.folder)) is not None:
                return running
            paths.write_private(self.folder / "way.json", json.dumps(self.way.to_dict()).encode())
            # A killed keeper's card would be shown to the new one, at the same address.
            (self.folder / "keeper.json").unlink(missing_ok=True)
            process = _spawn(self.folder)
            deadline = time.monotonic() + _START_TIMEOUT
            while time.monotonic() < deadline:
                if (running := call_keeper(self.folder)) is not None:
                    return running
                if process.poll() is not None:
                    break
                time.sleep(0.02)
        log = self.folder / "keeper.log"
        raise KeeperError(
            f"the keeper for {self.way} did not start",
            log="\n".join(log.read_text(errors="replace").splitlines()[-15:]),
        )


def _have_connected(connection: Connection, way: Way, ask: Ask | None) -> None:
    """Have the keeper connect to its site; what it asks meanwhile is answered by `ask`."""
    reply = _converse(connection, way, {"op": "connect", "may_ask": ask is not None})
    while "ask" in reply:
        try:
            if ask is None:
                raise LoginNeededError("nobody is here to ask")
            answer = ask(reply["ask"], reply["echo"])
        except BaseException:
            _send(connection, way, {"answer": None})
            raise
        reply = _converse(connection, way, {"answer": answer})


def _converse(connection: Connection, way: Way, message: dict[str, Any]) -> dict[str, Any]:
    """Say one thing to the keeper and hear its reply.

    Raises
    ------
    HpclaunchError
        As the keeper says.
    KeeperError
        If it went away.
    """
    _send(connection, way, message)
    try:
        reply: dict[str, Any] = json.loads(connection.recv_bytes())
    except (EOFError, OSError) as error:
        raise KeeperError(
            f"the keeper for {way} went away",
            hint=f"its last words are in {run_dir(way) / 'keeper.log'}; run the command again",
        ) from error
    if "error" in reply:
        raise HpclaunchError.from_dict(reply["error"])
    return reply


def _send(connection: Connection, way: Way, message: dict[str, Any]) -> None:
    try:
        connection.send_bytes(json.dumps(message).encode())
    except OSError as error:
        raise KeeperError(f"the keeper for {way} went away: {error}") from error


def _later(task: Callable[[], Connection]) -> Future[Connection]:
    """Run `task` in a thread that an interrupt need not wait for."""
    future: Future[Connection] = Future()

    def run() -> None:
        try:
            future.set_result(task())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _spawn(folder: Path) -> subprocess.Popen[bytes]:
    """Start a keeper that keeps nothing of ours: no terminal, no stream, no process group."""
    log = os.open(folder / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        options: dict[str, Any] = (
            {"creationflags": 0x00000008 | 0x00000200}  # DETACHED_PROCESS, NEW_PROCESS_GROUP
            if os.name == "nt"
            else {"start_new_session": True}
        )
        return subprocess.Popen(
            [sys.executable, "-m", "hpclaunch.keeper", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            **options,
        )
    finally:
        os.close(log)
