"""Who may talk to a keeper, and that nobody keeps it from listening to others."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import pytest

from hpclaunch.keeper.address import call_keeper, run_dir
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.keeper.service import Keeper
from hpclaunch.sessions.way import Way
from hpclaunch.transports.target import Target
from tests.support.launch import eventually

pytestmark = pytest.mark.local

WAY = Way("local", Target("localhost"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """The run directory of a keeper that serves in a thread of this process."""
    place = run_dir(WAY)
    (place / "way.json").write_text(json.dumps(WAY.to_dict()))
    keeper = threading.Thread(target=Keeper(place).serve)
    keeper.start()
    eventually((place / "keeper.json").exists, what="the keeper is there")
    yield place
    keeper.join(30)
    assert not keeper.is_alive(), "it ends when nobody needs it"


def address(folder: Path) -> str:
    return str(json.loads((folder / "keeper.json").read_text())["address"])


def test_a_caller_that_hangs_up_at_once_harms_nobody(folder: Path) -> None:
    """As a command does that is interrupted."""
    for _ in range(3):
        Client(address(folder)).close()
    with KeeperClient(WAY, start=False) as keeper:
        assert keeper.status()["sessions"] == []


def test_a_caller_that_says_nothing_keeps_nobody_waiting(folder: Path) -> None:
    silent = Client(address(folder))
    began = time.monotonic()
    with KeeperClient(WAY, start=False) as keeper:
        assert keeper.status()["sessions"] == []
    assert time.monotonic() - began < 10
    silent.close()


def test_a_caller_without_the_key_is_turned_away(folder: Path) -> None:
    with pytest.raises(AuthenticationError):
        Client(address(folder), authkey=b"another")
    connection = call_keeper(folder)
    assert connection is not None
    connection.close()


def test_a_command_that_comes_while_a_keeper_ends_gets_one_all_the_same() -> None:
    served = set()
    for late in (0.0, 2.9, 3.1, 3.3, 3.5):  # seconds; the grace is 3
        time.sleep(late)
        with KeeperClient(WAY) as keeper:
            keeper.connect(None)
            status = keeper.status()
            assert status["connected"]
            served.add(status["pid"])
    assert len(served) > 1, "one of them has ended meanwhile"
