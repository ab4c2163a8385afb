"""Whether anybody uses a session: a browser, a cell, a terminal's program, a Dask task.

An allocation that nobody uses costs its owner and everybody who waits. What counts as use is what
the person would miss; where we cannot tell, the session counts as used.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, Callable, Optional

from hpclaunch.node import processes, terminals
from hpclaunch.node.address import LOOPBACK
from hpclaunch.node.dask import CONTROL, DASHBOARD_HEADER
from hpclaunch.node.files import read_json
from hpclaunch.node.layout import JUPYTER_TLS_NAME, PULSE_PAGE, Layout
from hpclaunch.node.spec import Session

__all__ = ["Idleness", "Use", "peers_of"]

_PATIENCE = 10.0  # seconds for one answer
_LONGEST, _SHORTEST = 30.0, 0.5  # seconds between two looks
_PENDING = ("processing", "waiting", "unrunnable")
_ESTABLISHED = "01"  # linux/include/net/tcp_states.h


class Idleness:
    """Looks now and then whether the session is used, and rings when it was not for too long.

    Parameters
    ----------
    limit : float or None
        Seconds without use after which the session is abandoned; None never ends it.
    idle_for : callable
        Seconds since the last use, 0.0 while there is some; see `Use`.
    bell : Bell
        Is rung when the limit is reached.
    """

    def __init__(
        self, limit: Optional[float], idle_for: Callable[[], float], bell: processes.Bell
    ) -> None:
        self.abandoned_for: Optional[float] = None
        """Seconds without use, once the limit is reached."""
        self._limit = limit
        self._idle_for = idle_for
        self._bell = bell
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to look, in a thread of its own: an answer may hang, a signal must not."""
        if self._limit is not None:
            threading.Thread(target=self._watch, args=(self._limit,), daemon=True).start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()

    def _watch(self, limit: float) -> None:
        pause = min(_LONGEST, max(_SHORTEST, limit / 10))
        used = looked = time.monotonic()
        while not self._closed.wait(pause):
            now = time.monotonic()
            if now - looked > 2 * pause + _PATIENCE:  # the whole job was suspended
                used = now
            looked = now
            try:
                used = max(used, now - self._idle_for())
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
                used = now  # nobody can tell
            if now - used >= limit:
                self.abandoned_for = now - used
                self._bell.ring()
                return


class Use:
    """What uses one session at present.

    Parameters
    ----------
    session : Session
    port : int
        Where Jupyter serves.
    token : str
    """

    def __init__(self, session: Session, port: int, token: str) -> None:
        self._session = session
        self._port = port
        self._token = token
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.load_verify_locations(cafile=session.path(Layout.CA))
        self._terminals = terminals.Terminals()

    def idle_for(self) -> float:
        """Seconds since the last use that Jupyter knows of; 0.0 while there is some.

        Raises
        ------
        OSError, http.client.HTTPException, ValueError, KeyError, TypeError
            If Jupyter does not answer as it should.
        """
        in_use = (
            self._has_visitors()
            or any(map(_is_used, self._ask("/api/kernels?no_track_activity=1")))
            or self._terminals.are_used(processes.descendants(os.getpid()))
            or any(map(_has_tasks, self._schedulers()))
        )
        if in_use:
            return 0.0
        text = str(self._ask("/api/status")["last_activity"])
        last = datetime.strptime(text.replace("Z", "+0000"), "%Y-%m-%dT%H:%M:%S.%f%z")
        return max(0.0, (datetime.now(timezone.utc) - last).total_seconds())

    def _has_visitors(self) -> bool:
        """Whether somebody is connected who does not only feel the pulse."""
        peers = peers_of(self._port)  # before we connect ourselves
        callers = self._ask(PULSE_PAGE)["callers"] if peers else []
        return bool(peers - {(host, port) for host, port in callers})

    def _ask(self, path: str) -> Any:
        raw = socket.create_connection((LOOPBACK, self._port), _PATIENCE)
        with raw, self._context.wrap_socket(raw, server_hostname=JUPYTER_TLS_NAME) as secure:
            headers = {
                "Host": "{}:{}".format(LOOPBACK, self._port),
                "Authorization": "token " + self._token,
                "Connection": "close",
            }
            return _json_from(secure, path, headers)

    def _schedulers(self) -> Iterator[dict[str, Any]]:
        """What each Dask scheduler on this node says: the session's own, and those of notebooks."""
        told = read_json(self._session.path(Layout.DASK_FILE))["hpclaunch"]
        with open(told["dashboard-secret"], encoding="ascii") as file:
            headers = {"Host": "localhost", DASHBOARD_HEADER: file.read().strip()}
        for name in os.listdir(told["node-directory"]):
            if name == CONTROL:  # no pages there: the holder is asked to scale
                continue
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
                plain.settimeout(_PATIENCE)
                with contextlib.suppress(ConnectionRefusedError):  # its scheduler is gone
                    plain.connect(os.path.join(told["node-directory"], name))
                    yield _json_from(plain, "/json/counts.json", headers)


def peers_of(port: int) -> set[tuple[str, int]]:
    """Who is connected to TCP port `port` of this machine; nobody where nothing tells (macOS).

    A page of JupyterLab holds a websocket all the time, also when no kernel runs.
    """
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError), open(table, encoding="ascii") as lines:
            next(lines)
            for line in lines:
                local, remote, state = line.split()[1:4]
                if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port:
                    host, _, far = remote.rpartition(":")
                    found.add((_address(host), int(far, 16)))
    return found


def _address(digits: str) -> str:
    """The address that the kernel wrote as hex words in this machine's byte order."""
    words = [bytes.fromhex(digits[at : at + 8]) for at in range(0, len(digits), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return str(ipaddress.ip_address(packed))


def _json_from(connected: socket.socket, path: str, headers: dict[str, str]) -> Any:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = connected
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise ValueError("{} answers {}".format(path, answer.status))
    return json.loads(answer.read())


def _is_used(kernel: dict[str, Any]) -> bool:
    """Whether a kernel computes or a page is connected to it."""
    return kernel["execution_state"] in ("busy", "starting") or kernel["connections"] > 0


def _has_tasks(counts: dict[str, Any]) -> bool:
    """Whether a Dask scheduler has anything to do."""
    return any(counts[key] > 0 for key in _PENDING)
