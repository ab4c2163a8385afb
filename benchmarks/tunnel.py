"""The tunnel, TLS end included: throughput, processor time, round trip, many connections at once.

Peer: the same https server on the login node, read through ``ssh -L`` by a TLS client. Beside it a
plain-text server through ``ssh -L``. All over the container cluster's sshd, in turn.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.table import Table
from hpclaunch.keeper.tlsend import TlsEnds
from hpclaunch.node.layout import JUPYTER_TLS_NAME, Layout
from hpclaunch.tls import make_credentials, verify_context
from hpclaunch.transports.factory import make_transport
from hpclaunch.transports.target import Target
from tests.support.cluster import DOCKER, bring_up
from tests.support.launch import processes_with

PEER = "ssh -L, TLS client"
ROUNDS = 9
SIZE = 256 << 20
SMALL = 1 << 20
TOGETHER = 200
TRIPS = 200
QUIET = 6.0  # seconds until the last of the crowd is gone from every program
CONFIG = DOCKER / "run" / "ssh_config"

SERVER = """
import os, socket, ssl, sys, threading
cert, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
block = os.urandom(1 << 18)
def serve(connection, secure):
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            connection = context.wrap_socket(connection, server_side=True)
        while line := connection.recv(64):
            size = int(line)
            for start in range(0, size, len(block)):
                connection.sendall(block[:size - start])
        connection.close()
    except OSError:
        pass
def listen(secure):
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    def loop():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0], secure), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]
print(listen(True), listen(False), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Way:
    """A local port that leads to the server, by TLS where an authority is given.

    Attributes
    ----------
    ssh : tuple of int
        The ssh processes that carry it.
    """

    port: int
    ssh: tuple[int, ...] = ()
    authority: bytes | None = None

    def dial(self) -> socket.socket:
        """A connection to the server."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.authority is not None:
            context = verify_context(self.authority)
            return context.wrap_socket(connection, server_hostname=JUPYTER_TLS_NAME)
        return connection

    def processor(self) -> float:
        """Processor seconds so far of this process, which holds the TLS ends, and of ssh."""
        ticks = 0
        for number in self.ssh:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def run(rounds: int) -> list[Table]:
    """Every figure of each way, `rounds` times in turn, after one round that does not count.

    Who reads is a process of its own, as a browser is.
    """
    bring_up()
    seconds: list[dict[str, float]] = []
    processor: list[dict[str, float]] = []
    trips: list[dict[str, float]] = []
    crowd: list[dict[str, float]] = []
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        ways = open_ways(stack)
        for _ in range(rounds + 1):
            both = {name: download(reader, way) for name, way in ways.items()}
            seconds.append({name: one[0] for name, one in both.items()})
            processor.append({name: one[1] for name, one in both.items()})
            trips.append({name: reader.submit(trip, way).result() for name, way in ways.items()})
            crowd.append({name: reader.submit(crowded, way).result() for name, way in ways.items()})
            time.sleep(QUIET)
    return [
        Table("tunnel: seconds to read 256 MB from the login node", seconds[1:], PEER),
        Table("tunnel: processor seconds of the laptop for that", processor[1:], PEER),
        Table("tunnel: round trip of one byte, ms, median of 200", trips[1:], PEER),
        Table("tunnel: seconds for 200 connections at once, 1 MB each, none lost", crowd[1:], PEER),
    ]


def open_ways(stack: contextlib.ExitStack) -> dict[str, Way]:
    """The ways that are compared, closed with `stack`."""
    credentials = make_credentials()
    authority = credentials[Layout.CA]
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcl-", dir="/tmp")))
    secure, plain = stack.enter_context(server(credentials))
    (secure_port, plain_port), ssh = stack.enter_context(ssh_forward(secure, plain))
    ways = {
        PEER: Way(secure_port, (ssh,), authority),
        "ssh -L, plain text": Way(plain_port, (ssh,)),
    }
    ends = TlsEnds()
    stack.callback(ends.close)
    for kind in ("openssh", "paramiko"):
        control = folder / kind
        control.mkdir(mode=0o700)
        transport = make_transport(kind, Target("hpclaunch-login", ssh_config=CONFIG), control)
        transport.connect(None)
        transport.hold()
        stack.callback(transport.close)
        endpoint = transport.forward("127.0.0.1", secure)
        port = ends.listen(kind, endpoint, authority, None)
        ways[f"hpclaunch ({kind})"] = Way(port, tuple(processes_with("ssh", str(control))))
    return ways


def download(reader: ProcessPoolExecutor, way: Way) -> tuple[float, float]:
    """Seconds, and processor seconds of the laptop, to read everything over a new connection."""
    used = way.processor()
    seconds, read = reader.submit(whole, way).result()
    return seconds, read + way.processor() - used


def whole(way: Way) -> tuple[float, float]:
    """Seconds and processor seconds of the reader for everything."""
    began, used = time.monotonic(), time.process_time()
    with way.dial() as connection:
        fetch(connection, SIZE)
    return time.monotonic() - began, time.process_time() - used


def trip(way: Way) -> float:
    """Milliseconds from asking for one byte to having it, over an open connection."""
    taken = []
    with way.dial() as connection:
        for _ in range(TRIPS):
            began = time.perf_counter()
            fetch(connection, 1)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def crowded(way: Way) -> float:
    """Seconds until so many connections, opened at once, have all read their part.

    Raises
    ------
    RuntimeError
        If one is lost.
    """

    def one(_: int) -> None:
        with way.dial() as connection:
            fetch(connection, SMALL)

    began = time.monotonic()
    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(one, range(TOGETHER)))
    return time.monotonic() - began


def fetch(connection: socket.socket, size: int) -> None:
    """Ask for `size` bytes and read them."""
    connection.sendall(b"%d\n" % size)
    buffer, got = bytearray(min(size, 1 << 18)), 0
    while got < size and (count := connection.recv_into(buffer)):
        got += count
    if got != size:
        raise RuntimeError(f"{got} bytes instead of {size}")


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
        [*base, f"exec python3 {remote}/server.py {remote}/cert {remote}/key"],
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
def ssh_forward(*ports: int) -> Iterator[tuple[list[int], int]]:
    """Plain ``ssh -L`` to `ports` of the login node; the local ports, and ssh's process."""
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
        yield local, process.pid
    finally:
        process.terminate()
        process.wait(10)
