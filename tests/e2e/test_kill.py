"""Nothing left behind: every process of the laptop is killed at a random moment of `start`.

The moments are drawn uniformly over the seconds that an undisturbed start takes here. The seed is
printed, and HPCLAUNCH_TEST_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, processes_with

pytestmark = pytest.mark.cluster

LIVE = {"queued", "starting", "ready", "unreachable"}
OVER = {"ended", "failed", "lost"}


@dataclass(frozen=True)
class Draw:
    """The seed of a run, and how long a start takes that nobody disturbs."""

    seed: int
    whole: float

    def delays(self, count: int, transport: str) -> Iterator[float]:
        """Moments from the first second to a little beyond the answer of the server."""
        chance = random.Random(f"{self.seed} {transport}")
        for _ in range(count):
            yield chance.uniform(0.1, self.whole + 0.5)


@pytest.fixture(scope="module")
def draw(cluster: Cluster) -> Draw:
    """Measure one start, from the command to the server's answer."""
    laptop = Laptop(Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp")))
    began = time.monotonic()
    document = laptop.start(str(PROFILE), "--name", f"kill-first-{os.getpid()}", "--workers", "0")
    # How long the queue is depends on others: of that wait two seconds are enough.
    whole = time.monotonic() - began - max(0.0, document["timings"]["queue"] - 2.0)
    assert laptop.run("stop", "--all").returncode == 0
    seed = int(os.environ.get("HPCLAUNCH_TEST_SEED") or random.randrange(10**6))
    print(
        f"\nseed {seed}; an undisturbed start took {whole:.1f} s without the queue: "
        f"{document['timings']}"
    )
    return Draw(seed, whole)


@pytest.mark.parametrize(
    ("transport", "count"),
    [
        ("openssh", 5),
        ("paramiko", 5),
        pytest.param("openssh", 25, marks=pytest.mark.long),
        pytest.param("paramiko", 25, marks=pytest.mark.long),
    ],
)
def test_a_kill_at_any_moment_leaves_nothing_that_no_record_names(
    laptop: Laptop, cluster: Cluster, draw: Draw, transport: str, count: int
) -> None:
    for number, delay in enumerate(draw.delays(count, transport)):
        name = f"kill-{os.getpid()}-{transport[0]}{number}"
        print(f"{name}: after {delay:.2f} s", end=", ", flush=True)
        kill_a_start(laptop, name, delay, "--set", f"login.transport={transport}")
        told = must_be_told_truly(laptop, cluster, name)
        print(told or "no record", flush=True)
        if number % 2 and told == "with a job":
            must_attach(laptop, name)
        must_stop_for_good(laptop, cluster, name)


def kill_a_start(laptop: Laptop, name: str, delay: float, *options: str) -> None:
    """Start a session and kill every process of the laptop after `delay` seconds."""
    process = laptop.spawn(
        *("start", str(PROFILE), "--no-browser", "--workers", "1", "--name", name, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(delay)
    process.kill()
    eventually(lambda: not kill_what_lives(laptop), what="every process of the laptop is dead")
    process.wait()


def kill_what_lives(laptop: Laptop) -> list[int]:
    """Kill every process of the laptop; returns those that were still there."""
    living = processes_with(str(laptop.home))  # a killed one too, until the kernel has buried it
    for number in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return living


def must_be_told_truly(laptop: Laptop, cluster: Cluster, name: str) -> str | None:
    """Hold `list` against the queue; returns what there is of the session."""
    # A submit command that the login node has begun comes to its end there, without us.
    eventually(lambda: not submitting(cluster, name), timeout=30, what="no submit is under way")
    refreshed = laptop.run("list", "--json", "--refresh")
    assert refreshed.returncode == 0, refreshed.stderr
    listed = laptop.sessions().get(name)
    found = jobs(cluster, name)
    if listed is None:
        assert found == [], f"{found} run and no record names them"
        return None
    assert listed["state"] in LIVE | OVER | {"planned"}, listed
    if found:
        assert listed["state"] not in OVER | {"planned"}, f"{found} run; {listed}"
        ids = {line.split()[0] for line in found if not line.endswith("-w")}
        assert listed["job"] is None or listed["job"] in ids, f"{found}; {listed}"
        return "with a job"
    return "without a job"


def must_attach(laptop: Laptop, name: str) -> None:
    """A job that lives can be reached again."""
    options = (
        "--json",
        "--detach",
        "--no-browser",
        "--timeout",
        "240",
    )
    done = laptop.run("attach", name, *options, timeout=300)
    assert done.returncode == 0, done.stderr


def must_stop_for_good(laptop: Laptop, cluster: Cluster, name: str) -> None:
    """After `stop` no job runs, no secret lies on the site, no process runs here."""
    if name in laptop.sessions():
        stopped = laptop.run("stop", name)
        assert stopped.returncode == 0, stopped.stderr
        assert laptop.sessions().get(name, {"state": "ended"})["state"] in OVER
    assert jobs(cluster, name) == []
    left = [path for path in cluster.files() if f"/{name}-" in path]
    secrets = [path for path in left if "/tls/" in path or path.endswith(("/token", ".key"))]
    assert secrets == []
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left here")


def jobs(cluster: Cluster, name: str) -> list[str]:
    """The session's jobs in the queue: ``ID STATE NAME``."""
    return [line for line in cluster.jobs() if f" hpclaunch-{name}-" in line]


def submitting(cluster: Cluster, name: str) -> bool:
    """Whether a submit of the session still runs on the login node."""
    found = cluster.ssh(f"pgrep -u alice -f '[s]ubmit.sh.*/?{name}-'", check=False)
    return bool(found.strip())
