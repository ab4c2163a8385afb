"""What `make start` runs: the first session, with and without a terminal."""

from __future__ import annotations

import subprocess
import sys

import pexpect
import pytest

from hpclaunch.node.layout import Layout
from tests.support.launch import Laptop, eventually, processes_with

pytestmark = pytest.mark.local
TRYOUT = (sys.executable, "-m", "hpclaunch.cli.tryout")


def nothing_is_left(laptop: Laptop) -> None:
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left")
    assert list((laptop.home / "data" / "sessions").iterdir()) == []
    assert list((laptop.home / "state").rglob("token")) == []


def test_without_a_terminal_it_computes_on_both_workers_and_ends(laptop: Laptop) -> None:
    done = subprocess.run(
        TRYOUT,
        env=laptop.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    url, ready, result = done.stdout.splitlines()
    assert url.startswith("http://127.0.0.1:") and "/lab?token=" in url
    assert ready == "ready"
    assert "is 7999998000000, computed on 2 workers" in result
    nothing_is_left(laptop)


def test_on_a_terminal_it_stays_until_an_interrupt_and_leaves_nothing(laptop: Laptop) -> None:
    child = pexpect.spawn(
        TRYOUT[0],
        list(TRYOUT[1:]),
        env=laptop.environment | {"TERM": "xterm"},
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 120),
    )
    child.expect("connecting to this machine")
    child.expect(r"http://127\.0\.0\.1:\d+/lab\?token=")
    child.expect("Ctrl-C")
    assert child.isalive()
    child.sendintr()
    child.expect("is stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    nothing_is_left(laptop)


def test_an_interrupt_while_it_starts_leaves_nothing(laptop: Laptop) -> None:
    child = pexpect.spawn(
        TRYOUT[0],
        list(TRYOUT[1:]),
        env=laptop.environment | {"TERM": "xterm"},
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 120),
    )
    child.expect("submitt")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left")
    assert laptop.sessions() == {}, "no record"
    files = [path for path in laptop.home.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert not {path.name for path in files} & {"record.json", "ca.pem", *Layout.SECRETS}
    assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
    assert not list((laptop.home / "data").glob("sessions/*"))
    assert not list((laptop.home / "state").glob("sessions/*/"))
