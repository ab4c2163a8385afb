"""Throughput of the tunnel, TLS end included: one large download over plain http on 127.0.0.1.

Peer: the same https server on the login node, read through ``ssh -L`` by a TLS client. Beside it a
plain-text server through ``ssh -L``. All over the container cluster's sshd, in turn.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hpclaunch.keeper.tlsend import TlsEnds
from hpclaunch.node.layout import JUPYTER_TLS_NAME, Layout
from hpclaunch.tls import make_credentials, verify_context
from hpclaunch.transports.factory import make_transport
from hpclaunch.transports.target import Target
from tests.support.cluster import DOCKER, bring_up

TITLE = "tunnel: seconds to read 256 MB from the login node"
PEER = "ssh -L, TLS client"
ROUNDS = 9
SIZE = 256 << 20
CONFIG = DOCKER / "run" / "ssh_config"

SERVER = """
import os, socket, ssl, sys, tempfile, threading
size, cert, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
block = os.urandom(1 << 18)
def serve(connection, secure):
    try:
        if secure:
            connection = context.wrap_socket(connection, server_side=True)
        connection.recv(4096)
        for _ in range(size // len(block)):
            connection.sendall(block)
        connection.close()
    except OSError:
        pass
def listen(secure):
    listener = socket.create_server(("127.0.0.1", 0))
    def loop():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0], secure), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]
print(listen(True), listen(False), flush=True)
sys.stdin.read()
"""


def run(rounds: int) -> list[dict[str, float]]:
    """Seconds of each way, `rounds` times in turn, after one round that does not count."""
    bring_up()
    credentials = make_credentials()
    authority = credentials[Layout.CA]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcl-", dir="/tmp")))
        secure, plain = stack.enter_context(server(credentials))
        ends = TlsEnds()
        stack.callback(ends.close)
        ways = {}
        for kind in ("openssh", "paramiko"):
            control = folder / kind
            control.mkdir(mode=0o700)
            transport = make_transport(kind, Target("hpclaunch-login", ssh_config=CONFIG), control)
            transport.connect(None)
            transport.hold()
            stack.callback(transport.close)
            endpoint = transport.forward("127.0.0.1", secure)
            ways[kind] = ends.listen(kind, endpoint, authority, None)
        secure_port, plain_port = stack.enter_context(ssh_forward(secure, plain))
        context = verify_context(authority)
        out = []
        for _ in range(rounds + 1):
            out.append(
                {
                    PEER: read(secure_port, context),
                    "ssh -L, plain text": read(plain_port),
                    "hpclaunch (openssh)": read(ways["openssh"]),
                    "hpclaunch (paramiko)": read(ways["paramiko"]),
                }
            )
        return out[1:]


def read(port: int, context: ssl.SSLContext | None = None) -> float:
    """Seconds to read everything from a local port, by TLS where a context is given."""
    began = time.monotonic()
    connection = socket.create_connection(("127.0.0.1", port))
    if context is not None:
        connection = context.wrap_socket(connection, server_hostname=JUPYTER_TLS_NAME)
    with connection:
        connection.sendall(b"go\n")
        buffer, got = bytearray(1 << 18), 0
        while count := connection.recv_into(buffer):
            got += count
    if got != SIZE:
        raise RuntimeError(f"{got} bytes instead of {SIZE} through port {port}")
    return time.monotonic() - began


@contextlib.contextmanager
def server(credentials: dict[str, bytes]) -> Iterator[tuple[int, int]]:
    """A TLS and a plain-text server on the login node; their ports."""
    remote = f"/tmp/tunnel-{os.getpid()}"
    base = ["ssh", "-F", str(CONFIG), "hpclaunch-login"]
    files = {"cert": credentials[Layout.JUPYTER_CERT], "key": credentials[Layout.JUPYTER_KEY]}
    subprocess.run([*base, f"mkdir -m 700 {remote}"], check=True, stdin=subprocess.DEVNULL)
    for name, data in {**files, "server.py": SERVER.encode()}.items():
        subprocess.run([*base, f"cat >{remote}/{name}"], input=data, check=True)
    process = subprocess.Popen(
        [*base, f"exec python3 {remote}/server.py {SIZE} {remote}/cert {remote}/key"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        secure, plain = map(int, process.stdout.readline().split())
        yield secure, plain
    finally:
        process.stdin.close()
        process.wait(10)
        subprocess.run([*base, f"rm -rf {remote}"], stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def ssh_forward(*ports: int) -> Iterator[list[int]]:
    """Plain ``ssh -L`` to `ports` of the login node; the local ports."""
    local = []
    for _ in ports:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            local.append(probe.getsockname()[1])
    ways = [
        word
        for here, there in zip(local, ports, strict=True)
        for word in ("-L", f"127.0.0.1:{here}:127.0.0.1:{there}")
    ]
    process = subprocess.Popen(
        ["ssh", "-F", str(CONFIG), "-N", *ways, "hpclaunch-login"], stdin=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", local[-1])).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield local
    finally:
        process.terminate()
        process.wait(10)
