"""What another user of the machine tries; runs as that user, on whatever Python is there.

Python reads this and then ``main('{"try": NAME, ...arguments}')`` on stdin, and prints what came of
it as JSON. Attacks that go on say ``listening`` on stderr, and end when stdin is closed.
Standard library only, but for the attacks on Dask and on kernels, which use their libraries.
"""
# ruff: noqa: PTH101, PTH104, PTH116, PTH118, PTH123, PTH208, PTH211, UP041, B905
# (it runs on the Python of the site, and is about raw calls)

from __future__ import annotations

import asyncio
import http.client
import json
import os
import select
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress


def files(paths: list[str]) -> list[list[str]]:
    """Every access that succeeded, as ``[what, path]``."""
    won = []
    for path in paths:
        attempts = {
            "read": lambda p=path: os.close(os.open(p, os.O_RDONLY | os.O_NONBLOCK)),
            "write": lambda p=path: os.close(os.open(p, os.O_WRONLY | os.O_NONBLOCK)),
            "list": lambda p=path: os.listdir(p),
            "look": lambda p=path: os.stat(os.path.join(p, "token")),
            "plant": lambda p=path: os.symlink("/etc/passwd", os.path.join(p, "rendezvous.json")),
            "replace": lambda p=path: os.rename(p, p + ".old"),
            "chmod": lambda p=path: os.chmod(p, 0o777),
        }
        for what, attempt in attempts.items():
            with suppress(OSError):
                attempt()
                won.append([what, path])
    return won


def _told_to_stop(patience: float) -> bool:
    """Whether stdin is closed now, or within so many seconds."""
    return bool(select.select([0], [], [], patience)[0])


def processes() -> dict[str, list[str]]:
    """Argvs of other users' processes, and what else of them could be read, until told to stop."""
    argvs: set[str] = set()
    read: set[str] = set()
    print("listening", file=sys.stderr, flush=True)
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if os.stat("/proc/" + pid).st_uid == os.getuid():
                    continue
                with open("/proc/" + pid + "/cmdline", "rb") as file:
                    argv = file.read().replace(b"\0", b" ").decode(errors="replace")
                if not argv:
                    continue  # of the kernel, or dead: there is nothing behind it
                argvs.add(argv)
                for secret in ("environ", "maps", "mem", "fd/0", "cwd"):
                    with suppress(OSError):
                        os.close(os.open("/proc/" + pid + "/" + secret, os.O_RDONLY))
                        # A container's process begins as root and may have become this user's.
                        if os.stat("/proc/" + pid).st_uid != os.getuid():
                            read.add(secret + " of " + argv)
        if _told_to_stop(0.05):  # two cores are all there are
            return {"argvs": sorted(argvs), "read": sorted(read)}


def web(requests: list[dict]) -> list:
    """For each request ``[status, headers, start of the body]``, or in words why there is none."""
    with ThreadPoolExecutor(12) as crowd:
        return list(crowd.map(lambda one: _ask(**one), requests))


def _ask(host, port, path, tls=False, method="GET", headers=None, patience=10):
    try:
        raw = socket.create_connection((host, port), patience)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            raw = context.wrap_socket(raw)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = raw
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read(200_000).decode(errors="replace")
        connection.close()
        return [answer.status, dict(answer.getheaders()), body]
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__ + ": " + str(error)


def sockets(paths: list[str]) -> dict[str, str]:
    """For each UNIX socket ``"connected"``, or the name of the error."""
    found = {}
    for path in paths:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            try:
                probe.connect(path)
                found[path] = "connected"
            except OSError as error:
                found[path] = type(error).__name__
    return found


def dask(addresses: list[str], pair: list[str] | None = None) -> dict[str, str]:
    """For each address (``tcp://`` or ``tls://``) who answers, or in words why nobody does.

    `pair` is the certificate and key to show; none is shown without.
    """
    from distributed.comm import connect

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if pair:
        context.load_cert_chain(*pair)

    async def knock(address):
        options = {"ssl_context": context} if address.startswith("tls") else {}
        try:
            comm = await connect(address, timeout=3, **options)
            try:
                await comm.write({"op": "identity", "reply": True})
                return "answers: " + str((await comm.read())["type"])
            finally:
                comm.abort()
        except (OSError, asyncio.TimeoutError) as error:
            return "refused: " + repr(error)

    async def patiently(address):
        try:
            return await asyncio.wait_for(knock(address), 10)
        except asyncio.TimeoutError:
            return "refused: not a word in 10 s"

    async def all_of_them():
        said = await asyncio.gather(*(patiently(one) for one in addresses))
        return dict(zip(addresses, said))

    return asyncio.run(all_of_them())


def kernels(ports: list[int]) -> dict[str, list[str]]:
    """What can be overheard on kernels' ports by who subscribes to everything.

    Whatever is heard is said on stderr too, at once: ``PORT MESSAGE``.
    """
    import zmq

    context = zmq.Context()
    heard: dict[str, list[str]] = {}
    poller = zmq.Poller()
    ears = {}
    for port in ports:
        ear = context.socket(zmq.SUB)
        ear.setsockopt(zmq.SUBSCRIBE, b"")
        ear.setsockopt(zmq.LINGER, 0)
        ear.connect(f"tcp://127.0.0.1:{port}")
        poller.register(ear, zmq.POLLIN)
        heard[str(port)] = []
        ears[ear] = str(port)
    print("listening", file=sys.stderr, flush=True)
    while not _told_to_stop(0):
        for ear, _ in poller.poll(200):
            message = repr(ear.recv_multipart())
            heard[ears[ear]].append(message)
            print(ears[ear], message, file=sys.stderr, flush=True)
    return heard


def main(text: str) -> None:
    """Try what is asked for."""
    arguments = json.loads(text)
    attack = globals()[arguments.pop("try")]
    print(json.dumps(attack(**arguments)))
