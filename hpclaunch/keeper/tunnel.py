"""The tunnels of a keeper's sessions: a forward through the transport and a TLS end before it."""

from __future__ import annotations

import contextlib
import threading

from hpclaunch.errors import TransportError, UnreachableError
from hpclaunch.keeper.tlsend import TlsEnds, UpstreamError
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record
from hpclaunch.transports.base import Transport

__all__ = ["Tunnels"]


class Tunnels:
    """Opens and closes the tunnels of sessions, one each."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._ends = TlsEnds()
        self._forwards: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def open(self, record: Record, book: Book) -> int:
        """Open the tunnel of a session whose server answers on its node; returns the local port.

        The node's addresses are tried in the agent's order; the server behind each must prove with
        the session's own certificate that it is the one.

        Raises
        ------
        UnreachableError
            If none of them answers through the tunnel, with what each attempt said.
        """
        assert record.rendezvous is not None
        port = int(record.rendezvous["port"])
        authority, token = book.authority(record.name), book.token(record.name)
        said = []
        with self._lock:
            for host in map(str, record.rendezvous["addresses"]):
                endpoint = self._transport.forward(host, port)
                try:
                    self._ends.answer(endpoint, authority, token)
                except UpstreamError as error:
                    said.append(f"{host}:{port}: {error}")
                    with contextlib.suppress(TransportError):
                        self._transport.unforward(host, port)
                    continue
                if self._forwards.get(record.name) == (host, port) and record.port:
                    return record.port  # it listens still; connections through it may have lived on
                self._forwards[record.name] = (host, port)
                return self._ends.listen(record.name, endpoint, authority, record.port)
        raise UnreachableError(
            f"JupyterLab runs on {record.rendezvous.get('hostname')} but does not answer through "
            f"the tunnel",
            said="\n".join(said),
            hint="the login node may not forward ports, or may not reach compute nodes; "
            "ask the site's help desk about AllowTcpForwarding",
        )

    def is_open(self, name: str) -> bool:
        """Whether the session has a listener here."""
        return name in self._forwards

    def close(self, name: str) -> None:
        """Close a session's tunnel; no error where there is none."""
        with self._lock:
            forward = self._forwards.pop(name, None)
            if forward is not None:
                self._ends.unlisten(name)
                if forward not in self._forwards.values():
                    with contextlib.suppress(TransportError):
                        self._transport.unforward(*forward)

    def close_all(self) -> None:
        """Close every tunnel."""
        for name in list(self._forwards):
            self.close(name)
        self._ends.close()
