"""Every port and socket that a session opens on the nodes refuses who is not its owner."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.security.conftest import NODES, Victim
from tests.security.stranger import MALLORYS, SITE_PYTHON, User
from tests.support.cluster import inside
from tests.support.launch import eventually, kernel

pytestmark = pytest.mark.cluster

FROM_EVERYWHERE = pytest.mark.parametrize("mallory", MALLORYS, ids=str)
JUPYTERS = [
    "/lab", "/tree", "/api/status", "/api/contents", "/api/kernels", "/api/sessions",
    "/api/terminals", "/files/.bashrc", "/metrics", "/dask/status", "/lab/api/settings",
]  # fmt: skip
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
}


def request(victim: Victim, path: str, method: str = "GET", **headers: str) -> dict[str, Any]:
    """A request to Jupyter as the laptop's tunnel would send it, but for the login."""
    host, port = victim.jupyter
    told = {"Host": f"127.0.0.1:{port}", **headers}
    return {"host": host, "port": port, "path": path, "tls": True, "method": method,
            "headers": told}  # fmt: skip


def is_refused(answer: Any) -> bool:
    """Whether an answer is 403, or the way to the login page."""
    if isinstance(answer, str):
        return False
    status, headers, _ = answer
    return status == 403 or (status == 302 and headers["Location"].startswith("/login"))


@FROM_EVERYWHERE
def test_jupyter_answers_nobody_without_the_token(victim: Victim, mallory: User) -> None:
    answers = mallory.tries("web", requests=[request(victim, path) for path in JUPYTERS])
    assert [
        path for path, said in zip(JUPYTERS, answers, strict=True) if not is_refused(said)
    ] == []
    writing = [("POST", "/api/kernels"), ("POST", "/api/terminals"), ("PUT", "/api/contents/x"),
               ("DELETE", "/api/contents/.bashrc"), ("POST", "/api/shutdown")]  # fmt: skip
    asked = [request(victim, path, method) for method, path in writing]
    assert {said[0] for said in mallory.tries("web", requests=asked)} == {403}


@FROM_EVERYWHERE
def test_guessed_tokens_open_nothing(victim: Victim, mallory: User) -> None:
    token = victim.token
    assert len(token) >= 43, "256 bits in base64"
    guesses = ["", "token", token[:-1], token + "A", token.swapcase(), token[::-1], "*", "\x00",
               *(f"{number:043d}" for number in range(60))]  # fmt: skip
    asked = [request(victim, "/api/status", Authorization=f"token {guess}") for guess in guesses]
    asked += [request(victim, f"/api/status?token={guess}") for guess in guesses if guess.isalnum()]
    answers = mallory.tries("web", requests=asked)
    assert {said[0] for said in answers} <= {400, 403} and len(answers) > 120
    right = request(victim, "/api/status", Authorization=f"token {token}")
    assert User("alice", "login").tries("web", requests=[right])[0][0] == 200


@FROM_EVERYWHERE
def test_no_websocket_opens_without_the_token(victim: Victim, mallory: User) -> None:
    with kernel(victim.document) as running:
        paths = [f"/api/kernels/{running.id}/channels", "/api/events/subscribe",
                 "/terminals/websocket/1", "/dask/status/ws", "/lsp/ws/pylsp"]  # fmt: skip
        answers = mallory.tries(
            "web", requests=[request(victim, path, **UPGRADE) for path in paths]
        )
    assert [path for path, said in zip(paths, answers, strict=True) if not is_refused(said)] == []


@FROM_EVERYWHERE
def test_a_request_to_the_node_by_its_own_name_is_refused(victim: Victim, mallory: User) -> None:
    host, port = victim.jupyter
    for name in (victim.node, host, "evil.example"):
        one = request(victim, "/login", Host=f"{name}:{port}")
        assert mallory.tries("web", requests=[one])[0][0] == 403


def dask_addresses(victim: Victim) -> list[str]:
    """Scheduler, nanny and worker, without ``tls://``: what listens beside Jupyter and pages."""
    with kernel(victim.document, timeout=60) as running:
        said = running.run(
            "from distributed import Client\n"
            "with Client() as client:\n"
            "    found = client.scheduler_info()\n"
            "    print(found['address'])\n"
            "    for at, one in found['workers'].items(): print(at); print(one['nanny'])\n"
        )
    addresses = said.text.split()
    assert len(addresses) >= 3 and all(one.startswith("tls://") for one in addresses), said
    return [one.removeprefix("tls://") for one in addresses]


@FROM_EVERYWHERE
def test_dask_answers_neither_plain_tcp_nor_strangers_certificates(
    victim: Victim, mallory: User
) -> None:
    addresses = dask_addresses(victim)
    plain = mallory.tries("dask", addresses=[f"tcp://{one}" for one in addresses])
    bare = mallory.tries("dask", addresses=[f"tls://{one}" for one in addresses])
    pair = ["/tmp/mallory.pem", "/tmp/mallory.key"]
    made = mallory.runs(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-subj", "/CN=hpclaunch session", "-out", pair[0], "-keyout", pair[1]),
    )
    assert made.returncode == 0, made.stderr
    forged = mallory.tries("dask", addresses=[f"tls://{one}" for one in addresses], pair=pair)
    said = [*plain.items(), *bare.items(), *forged.items()]
    assert len(said) == 3 * len(addresses)
    assert [one for one in said if not one[1].startswith("refused")] == []


def test_dask_answers_the_owners_certificate(victim: Victim) -> None:
    addresses = [f"tls://{one}" for one in dask_addresses(victim)]
    tls = victim.directory + "/tls/dask."
    said = User("alice", victim.node).tries(
        "dask", addresses=addresses, pair=[tls + "pem", tls + "key"]
    )
    assert {word for one in said.values() for word in one.split()} == {
        "answers:", "GuardedScheduler", "Worker", "Nanny",
    }  # fmt: skip


def test_every_other_port_of_a_session_is_locked(victim: Victim) -> None:
    """What listens is Jupyter, Dask, Dask's pages and kernels: a new door must be looked at."""
    with kernel(victim.document):
        for node in NODES:
            ports = victim.ports(node)
            assert ports or node != victim.node
            mallory = User("mallory", node)
            doors = [
                {"host": "127.0.0.1" if address in ("0.0.0.0", "*", "[::]") else address,
                 "port": port, "path": path, "tls": tls,
                    "patience": 3, "headers": headers}
                for port, address in ports.items()
                for path in ("/", "/status", "/info/main/workers.html", "/metrics", "/health",
                             "/json/counts.json", "/status/ws", "/eventstream")
                for tls in (False, True)
                for headers in ({}, UPGRADE, {"X-Hpclaunch-Dashboard": "0" * 64})
            ]  # fmt: skip
            answers = mallory.tries("web", requests=doors)
            if node == victim.node:
                assert any(said[0] == 403 and "hpclaunch session" in said[2]
                           for said in answers if not isinstance(said, str))  # fmt: skip
            for door, said in zip(doors, answers, strict=True):
                closed = isinstance(said, str) or is_refused(said) or said[0] in (400, 404)
                # Jupyter sends / to its login page by way of /lab, which is locked.
                hallway = not isinstance(said, str) and said[0] == 302 and door["path"] == "/"
                assert closed or (hallway and said[1]["Location"].startswith("/lab")), (door, said)


def test_the_loopback_ports_of_dask_are_only_pages(victim: Victim) -> None:
    """Dask's own listeners are on addresses where TLS is asked for, never on plain loopback."""
    scheduler = dask_addresses(victim)[0].split(":")[0]
    loopback = [port for port, at in victim.ports(victim.node).items() if at == "127.0.0.1"]
    assert loopback
    answers = User("mallory", victim.node).tries(
        "dask", addresses=[f"tcp://127.0.0.1:{port}" for port in loopback]
    )
    assert scheduler != "127.0.0.1"
    assert {said.split()[0] for said in answers.values()} == {"refused:"}


def unix_sockets(victim: Victim, node: str) -> list[str]:
    """Listening UNIX sockets of the session, abstract ones included (``@...``)."""
    own = victim.processes(node)
    text = victim.cluster.root(node, "ss", "-lxpH")
    lines = [line for line in text.splitlines() if any(f"pid={pid}," in line for pid in own)]
    return [line.split()[4] for line in lines]


def test_unix_sockets_refuse_other_users(victim: Victim) -> None:
    for node in NODES:
        paths = unix_sockets(victim, node)
        assert not [path for path in paths if path.startswith("@")], "open to everybody"
        if node == victim.node:
            assert any(path.endswith("/dashboard") for path in paths)
        said = User("mallory", node).tries("sockets", paths=paths)
        assert set(said.values()) <= {"PermissionError"}, said
        own = User("alice", node).tries("sockets", paths=paths)
        assert set(own.values()) <= {"connected"}, "alice herself gets in"


@pytest.fixture
def talkative(victim: Victim) -> Iterator[tuple[Any, list[int]]]:
    """A kernel, and the ports it opened."""
    before = set(victim.ports(victim.node))
    with kernel(victim.document) as running:
        opened = eventually(
            lambda: (new := set(victim.ports(victim.node)) - before) and len(new) >= 5 and new
        )
        yield running, sorted(opened)


PLAIN = """
import os, time, zmq
loud = zmq.Context().socket(zmq.PUB)
print(os.getpid(), loud.bind_to_random_port("tcp://127.0.0.1"), flush=True)
for _ in range(3000):
    loud.send(repr(time.time()).encode())
    time.sleep(0.1)
"""


@pytest.fixture
def careless(victim: Victim) -> Iterator[int]:
    """The port of a program of alice's on the node that tells everybody the time, unlocked."""
    argv = [*inside(victim.node), "runuser", "-u", "alice", "--", SITE_PYTHON, "-c", PLAIN]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        number, port = process.stdout.readline().split()
        yield int(port)
        victim.cluster.root(victim.node, "kill", number.decode())


def hear(ear: subprocess.Popen[bytes], port: int, after: float) -> None:
    """Read on until a message of `careless` was overheard that was sent after this moment."""
    assert ear.stderr is not None
    for line in ear.stderr:
        sent = re.match(rb"%d \[b'([\d.]+)'\]" % port, line)
        if sent and float(sent[1]) > after:
            return
    raise AssertionError("mallory hears nothing")


def test_kernels_cannot_be_overheard_from_the_same_node(
    victim: Victim, talkative: tuple[Any, list[int]], careless: int
) -> None:
    running, ports = talkative
    mallory = User("mallory", victim.node)
    with mallory.trying("kernels", ports=[*ports, careless]) as ear:
        hear(ear, careless, after=0.0)
        for _ in range(8):
            assert running.run("print('my ' + 'secret')").text == "my secret\n"
            time.sleep(0.2)
        hear(ear, careless, after=time.time())  # so the ear was open all the time
        out, _ = ear.communicate(timeout=60)
    heard = json.loads(out)
    assert heard.pop(str(careless)), "what is not locked is heard"
    assert len(heard) == len(ports)
    assert b"my secret" not in out and all(said == [] for said in heard.values()), out


def test_mallory_has_the_same_tools_as_alice() -> None:
    """Otherwise the refusals above would say nothing."""
    said = User("mallory", "c1").runs(SITE_PYTHON, "-c", "import distributed, zmq; print('yes')")
    assert said.stdout == b"yes\n"
