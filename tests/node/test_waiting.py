"""What the agent says of a start that does not come to an end."""

from __future__ import annotations

import time

import pytest

from hpclaunch.node.agent import Agent
from hpclaunch.node.dask import Dask
from hpclaunch.node.failure import Failure
from hpclaunch.node.spec import Block, Session

pytestmark = pytest.mark.pure


class Quiet:
    """A bell that never rings."""

    ending = None

    def wait(self, seconds: float | None) -> None:
        time.sleep(seconds or 0)


class Jupyter:
    """A process that runs."""

    def poll(self) -> int | None:
        return None


class Hanging(Dask):
    """A cluster that never gets ready."""

    def check(self) -> bool:
        return False

    def last_words(self) -> str:
        return "waiting for a license"


def waiting(*, jupyter_answers: bool, mode: str = "local") -> Agent:
    session = Session(
        "/x", "demo", "abc", "local", start_timeout=0.1, mode=mode, block=Block(1, 2, 1, 1, 10**9)
    )
    agent = Agent(session, Quiet(), time.monotonic())  # type: ignore[arg-type]
    agent._jupyter = Jupyter()  # type: ignore[assignment]
    agent._dask = Hanging(session)
    agent._answered = time.monotonic() if jupyter_answers else None
    return agent


def test_a_cluster_that_hangs_is_named_with_its_last_words() -> None:
    with pytest.raises(Failure) as told:
        waiting(jupyter_answers=True)._await_ready()
    assert told.value.to_dict()["cause"] == "dask-failed"
    assert told.value.said == "waiting for a license"


def test_ranks_that_never_meet_are_named_with_their_launchers_last_words() -> None:
    with pytest.raises(Failure) as told:
        waiting(jupyter_answers=True, mode="mpi")._await_ready()
    assert told.value.cause == "mpi-hangs"
    assert told.value.said == "waiting for a license"


def test_when_both_hang_it_is_jupyter_that_is_named() -> None:
    with pytest.raises(Failure) as told:
        waiting(jupyter_answers=False)._await_ready()
    assert told.value.cause == "jupyter-hangs"


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "exit code 1"), (-9, "SIGKILL"), (-64, "SIGRTMAX"), (-100, "signal 100")],
)
def test_how_jupyter_died(code: int, words: str) -> None:
    assert words in Failure.jupyter_died(code).what
