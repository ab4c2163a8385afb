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
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock

from hpclaunch import paths
from hpclaunch.errors import HpclaunchError, KeeperError, LoginNeededError, TransportError
from hpclaunch.keeper.address import call_keeper, run_dir
from hpclaunch.sessions.way import Way
from hpclaunch.shell import Completed
from hpclaunch.transports.base import Ask

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
        Start the keeper where none runs.

    Raises
    ------
    KeeperError
        If no keeper runs and none could be started.
    """

    def __init__(self, way: Way, *, start: bool = True) -> None:
        self.way = way
        self.folder = run_dir(way)
        found = call_keeper(self.folder)
        if found is None and not start:
            raise KeeperError(f"no keeper runs for {way}")
        self._found: Connection | None = found
        self._starting: Future[Connection] | None = None
        if found is None:
            self._begin_start()
        elif start:
            try:
                self.status()
            except KeeperError:  # it was just ending
                self._begin_start()

    def __enter__(self) -> KeeperClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(KeeperError):
            self._connection.close()

    def connect(self, ask: Ask | None) -> None:
        """Make sure that the keeper has a live connection to the site.

        The prompting is done here, by the calling command: OpenSSH asks on this terminal itself,
        paramiko's questions come through the keeper.

        Raises
        ------
        TransportError
            As `Transport.connect` does.
        """
        if self._starting is None and self.status()["connected"]:
            return
        if self.way.kind == "openssh":  # while a new keeper is still starting
            from hpclaunch.transports.factory import make_transport

            make_transport(self.way.kind, self.way.target, self.folder).connect(ask)
        self._send({"op": "connect", "may_ask": ask is not None})
        while True:
            reply = self._receive()
            if "ask" not in reply:
                return
            try:
                if ask is None:
                    raise LoginNeededError("nobody is here to ask")
                self._send({"answer": ask(reply["ask"], reply["echo"])})
            except BaseException:
                self._send({"answer": None})
                raise

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run `argv` on the login node, as `Transport.run` does."""
        reply = self._request(
            "run", argv=list(argv), stdin=base64.b64encode(stdin).decode(), timeout=timeout
        )
        return Completed.of(argv, reply["exit"], reply["stdout"], reply["stderr"])

    def adopt(self, name: str) -> None:
        """Have the keeper watch the session of that name from now on, and hold its tunnel."""
        self._request("adopt", name=name)

    def release(self, name: str) -> None:
        """Have the keeper let go of a session: no more watching, no tunnel."""
        self._request("release", name=name)

    def alive(self) -> None:
        """Make sure that a keeper is there; start another where it went away.

        The new one gets a connection where that needs nobody to be asked; else its sessions stay
        unreachable until somebody attaches.
        """
        try:
            self.status()
        except KeeperError:
            self._begin_start()
            with contextlib.suppress(TransportError):
                self.connect(None)

    def status(self) -> dict[str, Any]:
        """``{"pid", "connected", "trouble", "sessions"}``."""
        return self._request("status")

    def _request(self, op: str, **fields: Any) -> dict[str, Any]:
        self._send({"op": op, **fields})
        return self._receive()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError as error:
            raise KeeperError(f"the keeper for {self.way} went away: {error}") from error

    def _receive(self) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise KeeperError(
                f"the keeper for {self.way} went away",
                hint=f"its last words are in {self.folder / 'keeper.log'}; run the command again",
            ) from error
        if "error" in reply:
            raise HpclaunchError.from_dict(reply["error"])
        return reply

    @property
    def _connection(self) -> Connection:
        """The conversation; waits for a keeper that is starting.

        Raises
        ------
        KeeperError
            If it did not start.
        """
        if self._starting is not None:
            self._found, self._starting = self._starting.result(), None
        assert self._found is not None
        return self._found

    def _begin_start(self) -> None:
        """Start a keeper in the background: a login may go on meanwhile."""
        self._starting = Future()
        threading.Thread(target=self._finish_start, args=(self._starting,), daemon=True).start()

    def _finish_start(self, future: Future[Connection]) -> None:
        try:
            future.set_result(self._start())
        except BaseException as error:
            future.set_exception(error)

    def _start(self) -> Connection:
        """Start the keeper, one only, and wait until it answers."""
        with FileLock(self.folder / "lock", timeout=_START_TIMEOUT):
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
