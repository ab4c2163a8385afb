"""A scheduler that gives no answer: nothing is known then, and nothing is given up."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually

pytestmark = pytest.mark.cluster

NOBODY = ("--workers", "0", "--no-browser")


@pytest.fixture
def slurmctld(cluster: Cluster) -> Iterator[list[str]]:
    """The controller's process; it runs again at the end."""
    numbers = cluster.root("controller", "pgrep", "-x", "slurmctld").split()
    yield numbers
    cluster.root("controller", "kill", "-CONT", *numbers)


@pytest.mark.parametrize(
    "seconds", [15, pytest.param(60, marks=pytest.mark.long)], ids="{}s".format
)
def test_sessions_live_through_a_silence(
    laptop: Laptop, cluster: Cluster, slurmctld: list[str], seconds: int
) -> None:
    ready = laptop.start(str(PROFILE), *NOBODY, "--name", "ready")
    waiting = laptop.spawn("start", str(PROFILE), *NOBODY, "--name", "waits",
                           "--nodes", "2", "--cores", "4")  # fmt: skip
    eventually(lambda: laptop.sessions().get("waits", {}).get("reason") == "Resources", timeout=30)
    before = laptop.sessions()
    cluster.root("controller", "kill", "-STOP", *slurmctld)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        during = laptop.sessions()
        assert {name: one["state"] for name, one in during.items()} == {
            "ready": "ready",
            "waits": "queued",
        }
        assert {name: one["job"] for name, one in during.items()} == {
            name: one["job"] for name, one in before.items()
        }
        time.sleep(1.0)
    assert waiting.poll() is None
    cluster.root("controller", "kill", "-CONT", *slurmctld)
    ids = {str(one["job"]) for one in before.values()}
    assert ready["job"]["id"] in ids
    eventually(lambda: ids <= living(cluster), timeout=60, what="both jobs are in the queue")
    assert laptop.run("stop", "ready").returncode == 0
    assert ids & living(cluster) == ids - {ready["job"]["id"]}
    eventually(lambda: laptop.sessions()["waits"]["state"] == "ready", timeout=90)
    assert laptop.run("stop", "waits").returncode == 0
    _, err = waiting.communicate(timeout=30)
    assert "the scheduler does not answer now" in err


def living(cluster: Cluster) -> set[str]:
    """Ids of alice's live jobs."""
    return {job.split()[0] for job in cluster.jobs()}
