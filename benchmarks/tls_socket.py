"""What TLS costs one connection: Python's own sockets on loopback, without Dask.

Sender and receiver are threads, whose processor seconds are counted apart; both give OpenSSL and
the kernel as much as they take at once. With plain tcp the cost is that of copying.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

__all__ = ["cost_of_a_connection"]

_BYTES = 2**30
_PIECE = 32 * 2**20


def cost_of_a_connection(folder: Path, *, tls: bool) -> dict[str, float]:
    """Processor seconds to ``send`` and to ``receive`` 1 GiB, and the ``calls`` of receiving.

    Parameters
    ----------
    folder : Path
        Where a session's certificates lie.
    tls : bool
    """
    found: dict[str, float] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiver = threading.Thread(target=_receive, args=(listener, folder, tls, found))
        receiver.start()
        plain = socket.create_connection(listener.getsockname())
        with _context(folder, server=False).wrap_socket(plain) if tls else plain as sender:
            data = bytes(_PIECE)
            began = time.thread_time()
            for _ in range(_BYTES // _PIECE):
                sender.sendall(data)
            found["send"] = time.thread_time() - began
            receiver.join()
    return found


def _receive(listener: socket.socket, folder: Path, tls: bool, found: dict[str, float]) -> None:
    plain, _ = listener.accept()
    wrapped = _context(folder, server=True).wrap_socket(plain, server_side=True) if tls else plain
    with wrapped as source:
        room = memoryview(bytearray(_PIECE))
        got = calls = 0
        began = time.thread_time()
        while got < _BYTES:
            got += source.recv_into(room[got % _PIECE :])
            calls += 1
        found.update(receive=time.thread_time() - began, calls=calls)


def _context(folder: Path, *, server: bool) -> ssl.SSLContext:
    """As Dask makes it: both ends show the pair and ask for the other's."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(folder / "tls/ca.pem")
    made.load_cert_chain(folder / "tls/dask.pem", folder / "tls/dask.key")
    return made
