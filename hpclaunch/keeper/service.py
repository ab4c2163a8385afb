"""The keeper's conversations: requests in, answers out, one thread for each caller."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import secrets
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hpclaunch import paths
from hpclaunch.errors import HpclaunchError, KeeperError, LoginNeededError, TransportError
from hpclaunch.keeper.address import listener_address, read_way
from hpclaunch.keeper.link import Link
from hpclaunch.keeper.tunnel import Tunnels
from hpclaunch.keeper.watch import Watch
from hpclaunch.sessions.book import Book
from hpclaunch.transports.base import Ask
from hpclaunch.transports.factory import make_transport

__all__ = ["Keeper"]

_GRACE = 3.0  # seconds without session and caller until the keeper ends
_log = logging.getLogger("hpclaunch.keeper")


class Keeper:
    """One site's keeper.

    Parameters
    ----------
    folder : Path
        Its run directory, with ``way.json`` in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.way = read_way(folder)
        self.book = Book()
        transport = make_transport(self.way.kind, self.way.target, folder)
        self.link = Link(
            transport,
            name=self.way.target.host,
            wanted=lambda: bool(self.watch.names()),
            went_down=lambda why: self.watch.link_down(why),
            came_up=lambda: self.watch.link_up(),
        )
        self.tunnels = Tunnels(transport)
        self.watch = Watch(self.book, self.link, self.tunnels)
        self._over = threading.Event()
        self._last = FileLock(folder / "lock")
        self._callers = 0
        self._counting = threading.Lock()

    def serve(self) -> None:
        """Serve until the last session and the last caller are gone."""
        address = listener_address(self.folder)
        if isinstance(address, str):
            Path(address).unlink(missing_ok=True)  # a dead keeper's; we hold the start lock
        self._key = secrets.token_bytes(32)
        with contextlib.ExitStack() as stack:
            stack.callback(self._last.release)  # last of all
            listener = stack.enter_context(Listener(address, backlog=64))
            card = {"pid": os.getpid(), "address": listener.address, "authkey": self._key.hex()}
            paths.write_private(self.folder / "keeper.json", json.dumps(card).encode())
            self.link.start()
            self.watch.start()
            for record in self.book:
                submitted = record.submitting is not None and not record.stopping
                if record.target == self.way.to_dict() and submitted and not record.is_over:
                    self.watch.adopt(record.name)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            try:
                self._wait_for_the_end()
            finally:
                self._over.set()
                (self.folder / "keeper.json").unlink(missing_ok=True)
                self.watch.close()
                self.tunnels.close_all()
                self.link.close()

    def _wait_for_the_end(self) -> None:
        """Return once nobody needs us, with the lock that keeps a successor from starting.

        A successor has the same sockets and the same connection.
        """
        idle_since = time.monotonic()
        while True:
            time.sleep(0.25)
            if self._callers or self.watch.names():
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _GRACE:
                with contextlib.suppress(Timeout):  # somebody looks for a keeper right now
                    self._last.acquire(timeout=0)
                    with self._counting:
                        if not (self._callers or self.watch.names()):
                            self._over.set()
                            return
                    self._last.release()
                idle_since = time.monotonic()

    def _accept(self, listener: Listener) -> None:
        """Take every caller; who it is shows in a thread of its own, where none waits for it."""
        while True:
            try:
                connection = listener.accept()
            except OSError as error:
                if self._over.wait(0.1):
                    return
                _log.warning("a caller was not taken: %s", error)
                continue
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: Connection) -> None:
        counted = False
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            with self._counting:
                if self._over.is_set():
                    return  # the caller takes another
                self._callers += 1
                counted = True
            while True:
                request = json.loads(connection.recv_bytes())
                try:
                    reply = self._answer(request, connection)
                except HpclaunchError as error:
                    reply = {"error": error.to_dict()}
                except (EOFError, OSError):
                    raise
                except Exception as error:
                    _log.exception("request %s", request.get("op"))
                    reply = {
                        "error": KeeperError(
                            f"the keeper stumbled over {request.get('op')!r}: {error!r}",
                            hint=f"the details are in {self.folder / 'keeper.log'}",
                        ).to_dict()
                    }
                connection.send_bytes(json.dumps(reply).encode())
        except (AuthenticationError, EOFError, OSError):
            pass
        finally:
            connection.close()
            with self._counting:
                self._callers -= counted

    def _answer(self, request: dict[str, Any], connection: Connection) -> dict[str, Any]:
        match request["op"]:
            case "status":
                return {
                    "pid": os.getpid(),
                    "connected": self.link.up.is_set(),
                    "trouble": self.link.trouble,
                    "sessions": self.watch.names(),
                }
            case "connect":
                self.link.connect(_asker(connection) if request["may_ask"] else None)
                return {}
            case "run":
                try:
                    said = self.link.transport.run(
                        request["argv"],
                        stdin=base64.b64decode(request["stdin"]),
                        timeout=request["timeout"],
                    )
                except TransportError:
                    self.link.doubt()
                    raise
                return {"exit": said.exit, "stdout": said.stdout, "stderr": said.stderr}
            case "adopt":
                self.watch.adopt(request["name"])
                return {}
            case "release":
                self.watch.release(request["name"])
                return {}
            case unknown:
                raise KeeperError(
                    f"this keeper knows no request {unknown!r}",
                    hint="it was started by another version of hpclaunch; stop its sessions first",
                )


def _asker(connection: Connection) -> Ask:
    """Ask the person at the other end of the conversation."""

    def ask(prompt: str, echo: bool) -> str:
        connection.send_bytes(json.dumps({"ask": prompt, "echo": echo}).encode())
        answer = json.loads(connection.recv_bytes())["answer"]
        if answer is None:
            raise LoginNeededError("the question was not answered")
        return str(answer)

    return ask
