"""A network that a test can take away: a forwarder on loopback between the laptop and one sshd."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

from tests.support.cluster import DOCKER

_CHUNK = 1 << 16


class Gate:
    """Carries every connection to `port` on 127.0.0.1, as long as it is open.

    While it is shut nothing arrives in either direction and nothing is refused: packets are lost.
    A connection that lived through that can be kept silent for longer, as TCP does, whose pause
    between two retransmissions has grown with the outage.

    Attributes
    ----------
    port : int
        Where it listens.
    accepted : int
        Connections so far.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._open = threading.Event()
        self._open.set()
        self._frozen: set[_Carried] = set()
        self._carried: set[_Carried] = set()
        self._closed = False
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """From now on every packet is lost."""
        self._open.clear()

    def open(self, *, thaw: bool = True) -> float:
        """Let packets pass again, those of the old connections too if `thaw`; returns the time."""
        if not thaw:
            for one in list(self._carried):
                one.frozen = True
        self._open.set()
        return time.monotonic()

    def refuse(self) -> None:
        """Hang up on every connection, and turn away new ones."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.sever()

    def admit(self) -> float:
        """Take connections again, at the same port; returns the time."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        return time.monotonic()

    def sever(self) -> None:
        """Hang up on every connection."""
        for one in list(self._carried):
            one.close()

    def close(self) -> None:
        """End it."""
        self._closed = True
        self.refuse()

    def config(self, folder: Path) -> Path:
        """An ssh configuration in which the cluster's login node lies behind this gate."""
        run = DOCKER / "run"
        old = next(
            line.split()[1]
            for line in (run / "ssh_config")
            .read_text()
            .split("Host hpclaunch-login\n")[1]
            .split("\n")
            if line.split()[:1] == ["Port"]
        )
        known = folder / "known_hosts"
        known.write_text((run / "known_hosts").read_text().replace(f"]:{old}", f"]:{self.port}"))
        text = (run / "ssh_config").read_text().replace(f"Port {old}\n", f"Port {self.port}\n")
        config = folder / "ssh_config"
        config.write_text(text.replace(str(run / "known_hosts"), str(known)))
        return config

    def _accept(self) -> None:
        while not self._closed:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller: socket.socket) -> None:
        self._open.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._to), 10)
        except OSError:
            caller.close()
            return
        far.settimeout(None)  # else a silence of 10 s would end one direction, and nobody told
        one = _Carried(caller, far, self._open)
        self._carried.add(one)
        one.run()
        self._carried.discard(one)


class _Carried:
    """One connection."""

    def __init__(self, near: socket.socket, far: socket.socket, flows: threading.Event) -> None:
        self._ends = (near, far)
        self._flows = flows
        self.frozen = False
        for end in self._ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        near, far = self._ends
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        self.close()

    def close(self) -> None:
        self.frozen = False
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                while self.frozen or not self._flows.is_set():
                    time.sleep(0.02)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
