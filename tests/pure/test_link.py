"""The keeper's link: what it does when the site is silent, gone, or wants a person."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hpclaunch.errors import (
    HostKeyError,
    LoginNeededError,
    LoginRefusedError,
    TransportError,
    UnreachableError,
)
from hpclaunch.keeper.link import Link
from hpclaunch.keeper.patience import Patience
from hpclaunch.transports.local import LocalTransport


class Road(LocalTransport):
    """A transport whose network a test rules."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = True
        self.renewals = 0
        self.refusal: TransportError | None = None

    def is_alive(self, timeout: float = 5.0) -> bool:
        return self.alive

    def renew(self, patience: float) -> None:
        self.renewals += 1
        if self.refusal is not None:
            raise self.refusal
        self.alive = True
        self.lost.clear()


@pytest.fixture
def road() -> Road:
    return Road()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def link(road: Road, told: list[str]) -> Iterator[Link]:
    one = Link(
        road,
        name="site",
        wanted=lambda: True,
        went_down=told.append,
        came_up=lambda: told.append("up"),
    )
    one.connect(None)
    one.start()
    told.clear()
    yield one
    one.close()


def soon(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_silence_is_told_and_a_second_connection_made(
    road: Road, link: Link, told: list[str]
) -> None:
    road.alive = False
    soon(lambda: told == ["no answer from site", "up"])
    assert road.renewals == 1
    assert link.up.is_set() and link.trouble is None


def test_while_nobody_answers_it_goes_on_trying(road: Road, link: Link, told: list[str]) -> None:
    road.refusal = UnreachableError("no connection to site", said="Connection timed out")
    road.alive = False
    soon(lambda: road.renewals >= 3, 8.0)  # after 9 s and more where a host turns us away
    assert told == ["no answer from site"], "told once"
    road.refusal = None
    soon(lambda: told[-1] == "up", 8.0)  # a host that turns us away is next tried after 15 s


@pytest.mark.parametrize("kind", [LoginNeededError, LoginRefusedError, HostKeyError])
def test_a_login_that_needs_a_person_is_tried_once_and_the_silent_connection_is_kept(
    road: Road, link: Link, told: list[str], kind: type[TransportError]
) -> None:
    road.refusal = kind("a code is wanted")
    road.alive = False
    soon(lambda: len(told) == 2)
    assert told[1] == "no answer from site, and a new login needs you: a code is wanted"
    time.sleep(1.0)
    assert road.renewals == 1, "sites count failed logins"
    road.alive = True
    soon(lambda: told[-1] == "up")
    assert road.renewals == 1, "it came back by itself"


def test_a_loss_is_told_as_a_loss(road: Road, link: Link, told: list[str]) -> None:
    road.lost.set()
    soon(lambda: told == ["the connection to site was lost", "up"])


def test_a_command_that_fails_makes_it_look_at_once(
    road: Road, link: Link, told: list[str]
) -> None:
    road.refusal = UnreachableError("no", said="No route to host")
    road.alive = False
    link.doubt()
    assert told == ["no answer from site"] and not link.up.is_set()


def test_without_sessions_nothing_is_asked_of_the_site(road: Road, told: list[str]) -> None:
    asked = threading.Event()
    road.is_alive = lambda timeout=5.0: asked.set() or True  # type: ignore[method-assign]
    one = Link(road, name="site", wanted=lambda: False, went_down=told.append, came_up=lambda: None)
    one.connect(None)
    one.start()
    assert not asked.wait(3.0)
    one.close()


class Clock:
    """A clock that a test turns."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def tries(error: TransportError, seconds: float, each: float) -> list[float]:
    """When a link tries in an outage so long, every try taking `each` seconds to fail."""
    clock = Clock()
    patience = Patience(clock)
    found = []
    while clock.now < 1000.0 + seconds:
        if patience.is_over:
            found.append(clock.now - 1000.0)
            clock.now += each
            patience.failed(error)
        clock.now += 0.25
    return found


def test_a_dead_network_is_tried_every_few_seconds_and_less_often_in_the_end() -> None:
    dead = UnreachableError("no", said="ssh: connect to host site port 22: Connection timed out")
    found = tries(dead, 7200, each=3.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert max(gaps[:20]) <= 4.0, "so that the session is back within 5 s"
    assert min(gaps[-20:]) >= 20.0


def test_a_host_that_turns_us_away_is_seldom_asked() -> None:
    refused = UnreachableError("no", said="kex_exchange_identification: Connection reset by peer")
    assert len(tries(refused, 60, each=0.1)) <= 5
    assert len(tries(refused, 3600, each=0.1)) <= 36


def test_the_first_word_of_a_slow_network_is_waited_for_longer_in_the_end() -> None:
    clock = Clock()
    patience = Patience(clock)
    assert patience.for_an_answer <= 3.0
    clock.now += 300
    assert patience.for_an_answer >= 15.0


def test_a_first_connection_that_fails_is_told_and_tried_again(
    road: Road, link: Link, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command may have made it elsewhere already, and go on without us."""
    link.up.clear()
    failure = UnreachableError("site does not answer through the connection we have")

    def refuse(ask: object = None) -> None:
        raise failure

    monkeypatch.setattr(road, "connect", refuse)
    with pytest.raises(UnreachableError):
        link.connect(None)
    assert told[0] == str(failure)
    soon(lambda: told[-1] == "up")
