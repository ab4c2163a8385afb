"""A link that comes back: the same URL works again, and what ran in the session still runs."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import websocket

from hpclaunch.sessions.kernel import Kernel
from tests.support.cluster import PROFILE, Cluster
from tests.support.gate import Gate
from tests.support.launch import Laptop, eventually, processes_with, signal_each

pytestmark = pytest.mark.cluster

HOST = "hpclaunch-login"
COUNT = """
import time
ticks = []
for _ in range({}):
    ticks.append(time.time())
    time.sleep(0.1)
"""
ASK_FOR_SSHD = """
import sys
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.way import Way
up = '''p=$PPID
for _ in 1 2; do
    p=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$p/status)
    echo $p
done'''
with KeeperClient(Way.from_dict(Book().read(sys.argv[1]).target), start=False) as keeper:
    print(keeper.run(["/bin/sh", "-c", up]).stdout)
"""
BACK = 5.0
"""Seconds from the return of the network until the same URL must answer again."""
REST = 5
"""Seconds that a cell goes on for after an outage."""


@dataclass
class Session:
    """A session in the foreground of a terminal, with a cell that counts."""

    laptop: Laptop
    gate: Gate
    process: subprocess.Popen[str]
    document: dict[str, Any]
    kernel_id: str = ""
    accepted: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.said)

    def answers(self, timeout: float = 2.0) -> bool:
        """Whether the URL of the beginning answers now."""
        url = self.document["url"].replace("/lab?", "/api/status?")
        try:
            with urllib.request.urlopen(url, timeout=timeout) as reply:
                return "kernels" in json.load(reply)
        except (OSError, urllib.error.HTTPError):
            return False

    @property
    def listed(self) -> dict[str, Any]:
        """The session in `list`."""
        return self.laptop.sessions()[self.document["name"]]

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request of Jupyter's REST API."""
        url, token = self.document["url"].split("/lab")[0], self.document["token"]
        return Kernel(url, token, timeout=10).request(method, path, body)

    def page(self) -> websocket.WebSocket:
        """What a browser's page holds open: a websocket to the kernel."""
        address = self.document["url"].split("/lab")[0].replace("http", "ws", 1)
        return websocket.create_connection(
            f"{address}/api/kernels/{self.kernel_id}/channels",
            header=[f"Authorization: token {self.document['token']}"],
            timeout=30,
        )

    def begin_to_count(self, seconds: int) -> None:
        """Start a cell that runs for a while, and close the page."""
        self.accepted = self.gate.accepted
        self.kernel_id = str(self.request("POST", "/api/kernels", {})["id"])
        page = self.page()
        page.send(execute(COUNT.format(seconds * 10)))
        eventually(lambda: self.kernel_state() == "busy", what="the cell runs")
        page.close()

    def forget_the_count(self) -> None:
        """End the kernel."""
        if self.kernel_id:
            eventually(self.answers, what="it answers after the test")
            self.request("DELETE", f"/api/kernels/{self.kernel_id}")
            self.kernel_id = ""

    def kernel_state(self) -> str:
        return str(self.request("GET", f"/api/kernels/{self.kernel_id}")["execution_state"])

    def must_have_counted(self, seconds: int) -> None:
        """The cell has run on all the time, to its end."""
        eventually(lambda: self.kernel_state() == "idle", timeout=60, what="the cell ends")
        page = self.page()
        page.send(execute("import json; print(json.dumps(ticks))"))
        while True:
            message = json.loads(page.recv())
            if message["msg_type"] == "stream" and message["content"]["text"].startswith("["):
                break
        page.close()
        ticks: list[float] = json.loads(message["content"]["text"])
        assert len(ticks) == seconds * 10
        assert max(b - a for a, b in itertools.pairwise(ticks)) < 5, "the cell went on"

    def wait_until_unreachable(self, reason: str) -> None:
        """`list` says so, with the reason."""
        eventually(lambda: self.listed["state"] == "unreachable", timeout=15, what="unreachable")
        assert str(self.listed["reason"]).startswith(reason)

    def must_be_back(self, since: float) -> None:
        """The same URL answers within 5 seconds of the return."""
        while not self.answers(timeout=1.0):
            assert time.monotonic() - since < 60, f"it does not come back:\n{self.text}"
            time.sleep(0.05)
        took = time.monotonic() - since
        print(f"back after {took:.1f} s")
        assert took < BACK, self.text

    def must_have_said(self, *words: str) -> None:
        """The terminal has said these words, in order."""
        pattern = ".*".join(map(re.escape, words))
        eventually(lambda: re.search(pattern, self.text, re.DOTALL), what=f"{words} in {self.said}")

    def sshd_processes(self) -> list[str]:
        """Numbers of the two sshd processes on the login node that serve this connection."""
        done = subprocess.run(
            [sys.executable, "-c", ASK_FOR_SSHD, self.document["name"]],
            env=self.laptop.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()


def execute(code: str) -> str:
    """The message that runs a cell."""
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "",
              "session": uuid.uuid4().hex, "version": "5.3"}  # fmt: skip
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    return json.dumps(
        {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell",
         "content": content}
    )  # fmt: skip


@pytest.fixture(scope="module")
def gate(cluster: Cluster) -> Iterator[Gate]:
    one = Gate(int((PROFILE.parents[1] / "run" / "port").read_text()))
    yield one
    one.close()


@pytest.fixture(scope="module", params=["openssh", "paramiko"])
def session(
    request: pytest.FixtureRequest, gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    """A session that is ready, behind the gate; one for all tests of a transport."""
    home = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))
    laptop, name = Laptop(home), f"link-{request.param[0]}-{os.getpid()}"
    process = laptop.spawn(
        *("start", str(PROFILE), "--json", "--no-browser", "--workers", "0", "--name", name),
        *("--set", f"login.transport={request.param}"),
        *("--set", f"login.ssh_config={gate.config(tmp_path_factory.mktemp('ssh'))}"),
    )
    assert process.stdout is not None and process.stderr is not None
    said: list[str] = []
    threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True).start()
    try:
        line = process.stdout.readline()
        assert line, "".join(said)
        yield Session(laptop, gate, process, json.loads(line), said=said)
    finally:
        wake(laptop)
        process.kill()
        process.wait()
        stopped = laptop.run("stop", "--all")
        for log in home.rglob("keeper.log"):
            print(log.read_text())
        shutil.rmtree(home, ignore_errors=True)
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(autouse=True)
def _from_a_good_state(session: Session) -> Iterator[None]:
    """Each test begins with a session that answers, and what the terminal says from then on."""
    eventually(session.answers, what="the session answers before the test")
    eventually(lambda: session.listed["state"] == "ready", what="and is ready")
    session.said.clear()
    yield
    wake(session.laptop)
    session.gate.open()
    session.forget_the_count()


def wake(laptop: Laptop) -> None:
    """Let every process of the laptop run."""
    signal_each(processes_with(str(laptop.home)), signal.SIGCONT)


by_one_transport = pytest.mark.long_with("paramiko")
"""Where the keeper does it all: by paramiko with `make test-long`. A connection that is silent, and
one that is cut, each transport notices by itself."""
outages = pytest.mark.parametrize(
    "outage", [8, pytest.param(30, marks=pytest.mark.long)], ids="{}s".format
)
sleeps = pytest.mark.parametrize(
    "sleep", [8, pytest.param(60, marks=pytest.mark.long)], ids="{}s".format
)


@outages
def test_the_network_is_gone_for_a_while(session: Session, outage: int) -> None:
    """Packets are lost; after the return the old connection stays silent, as TCP's would."""
    session.begin_to_count(outage + REST)
    began = time.monotonic()
    session.gate.shut()
    session.wait_until_unreachable(f"no answer from {HOST}")
    time.sleep(max(0.0, outage - (time.monotonic() - began)))
    before = session.gate.accepted
    assert before - session.accepted < outage, "the site is not asked more than once a second"
    session.must_be_back(session.gate.open(thaw=False))
    session.must_have_said(f"unreachable: no answer from {HOST}", "reachable again")
    session.must_have_counted(outage + REST)


def test_a_connection_that_answers_again_is_kept(session: Session) -> None:
    """What runs through it, a page's websocket for one, lives on."""
    session.begin_to_count(14)
    page = session.page()
    session.gate.shut()
    session.wait_until_unreachable(f"no answer from {HOST}")
    session.must_have_said(f"unreachable: no answer from {HOST}")
    back = session.gate.open(thaw=True)
    session.must_be_back(back)
    eventually(lambda: session.listed["state"] == "ready", what="it is ready again")
    page.ping()
    while (frame := page.recv_frame()).opcode == websocket.ABNF.OPCODE_TEXT:
        pass  # what the kernel says meanwhile
    assert frame.opcode == websocket.ABNF.OPCODE_PONG, "the websocket is the same"
    page.close()
    session.must_have_said(f"unreachable: no answer from {HOST}", "reachable again")
    session.must_have_counted(14)


def test_the_sshd_of_the_connection_is_killed(session: Session, cluster: Cluster) -> None:
    session.begin_to_count(8)
    numbers = session.sshd_processes()
    cluster.root("login", "kill", "-9", *numbers)
    session.must_be_back(time.monotonic())
    eventually(lambda: session.listed["state"] == "ready", what="it is ready again")
    session.must_have_said(f"the connection to {HOST} was lost", "reachable again")
    session.must_have_counted(8)


@by_one_transport
@outages
def test_the_login_node_takes_no_connections_for_a_while(session: Session, outage: int) -> None:
    session.begin_to_count(outage + REST)
    began = time.monotonic()
    session.gate.refuse()
    session.wait_until_unreachable(f"the connection to {HOST} was lost")
    time.sleep(max(0.0, outage - (time.monotonic() - began)))
    session.must_be_back(session.gate.admit())
    session.must_have_said(f"unreachable: the connection to {HOST} was lost", "reachable again")
    session.must_have_counted(outage + REST)


@by_one_transport
@sleeps
@pytest.mark.parametrize("meanwhile", ["nothing happens", "the site hangs up"])
def test_the_laptop_sleeps(session: Session, sleep: int, meanwhile: str) -> None:
    session.begin_to_count(sleep + REST)
    numbers = processes_with(str(session.laptop.home))
    assert len(numbers) >= 2, "the command and the keeper at least"
    signal_each(numbers, signal.SIGSTOP)
    time.sleep(sleep / 2)
    if meanwhile == "the site hangs up":
        session.gate.sever()
    time.sleep(sleep / 2)
    wake(session.laptop)
    session.must_be_back(time.monotonic())
    session.must_have_said("this laptop slept for")
    session.must_have_counted(sleep + REST)
