"""Nothing left behind: every process of the laptop is killed at a random moment of `start`.

The seconds that an undisturbed start takes here, measured for each transport, are cut into equal
slices, and a moment is drawn in each. Every test prints the seed, and HPCLAUNCH_TEST_SEED repeats
a run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.sessions.access import SUBMIT_TIMEOUT
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, processes_with, signal_each

pytestmark = pytest.mark.cluster

LIVE = {"queued", "starting", "ready", "unreachable"}
OVER = {"ended", "failed", "lost"}
FIRST, BEYOND = 0.1, 0.5
"""Seconds from the command to the earliest moment, and from the server's answer to the last."""
NEVER_CAME = SUBMIT_TIMEOUT + 30.0
"""Seconds after which a submit without answer and without a job is no longer called queued."""


@dataclass
class Draw:
    """The seed of a run, and how long a start takes that nobody disturbs."""

    seed: int
    laptop: Laptop
    measured: dict[str, float] = field(default_factory=dict)

    def whole(self, transport: str) -> float:
        """Seconds from the command to the server's answer, once everything is warm."""
        if not self.measured:
            self._start(transport)  # brings the modules, and reads everything from the disk
        if transport not in self.measured:
            self.measured[transport] = self._start(transport)
        return self.measured[transport]

    def delays(self, count: int, transport: str) -> list[float]:
        """A moment in each of `count` equal slices of the start, in any order."""
        chance = random.Random(f"{self.seed} {transport} {count}")
        width = (self.whole(transport) + BEYOND - FIRST) / count
        moments = [FIRST + width * (number + chance.random()) for number in range(count)]
        chance.shuffle(moments)
        return moments

    def _start(self, transport: str) -> float:
        name = f"kill-first-{os.getpid()}"
        options = ("--name", name, "--workers", "1", "--set", f"login.transport={transport}")
        began = time.monotonic()
        document = self.laptop.start(str(PROFILE), *options)
        took = time.monotonic() - began
        assert self.laptop.run("stop", "--all").returncode == 0
        # Every start makes its own connection, as those that are killed do.
        eventually(lambda: not self.laptop.keepers(), what="the keeper has ended")
        # How long the queue is depends on others: of that wait two seconds are enough.
        return took - max(0.0, document["timings"]["queue"] - 2.0)


@pytest.fixture(scope="module")
def draw(cluster: Cluster) -> Iterator[Draw]:
    """One seed for the run, and a laptop of its own to measure with."""
    seed = int(os.environ.get("HPCLAUNCH_TEST_SEED") or random.randrange(10**6))
    home = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))
    laptop = Laptop(home)
    yield Draw(seed, laptop)
    laptop.run("stop", "--all")
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(
    ("transport", "count"),
    [
        ("openssh", 3),
        ("paramiko", 1),
        pytest.param("openssh", 25, marks=pytest.mark.long),
        pytest.param("paramiko", 25, marks=pytest.mark.long),
    ],
)
def test_a_kill_at_any_moment_leaves_nothing_that_no_record_names(
    laptop: Laptop, cluster: Cluster, draw: Draw, transport: str, count: int
) -> None:
    print(f"\nHPCLAUNCH_TEST_SEED={draw.seed}; an undisturbed start takes", end=" ", flush=True)
    print(f"{draw.whole(transport):.1f} s without the queue", flush=True)
    for number, delay in enumerate(draw.delays(count, transport)):
        name = f"kill-{os.getpid()}-{transport[0]}{count}-{number}"
        print(f"{name}: after {delay:.2f} s", end=", ", flush=True)
        kill_a_start(laptop, name, delay, "--set", f"login.transport={transport}")
        told = must_be_told_truly(laptop, cluster, name)
        print(told, flush=True)
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
    signal_each(living, signal.SIGKILL)
    return living


def must_be_told_truly(laptop: Laptop, cluster: Cluster, name: str) -> str:
    """Hold `list` against the queue until they agree; returns what there is of the session."""
    # A submit command that the login node has begun comes to its end there, without us.
    eventually(lambda: not submitting(cluster, name), timeout=30, what="no submit is under way")
    refreshed = laptop.run("list", "--json", "--refresh")
    assert refreshed.returncode == 0, refreshed.stderr
    deadline = time.monotonic() + 30
    while True:
        listed, found = laptop.sessions().get(name), jobs(cluster, name)
        if (told := agreed(laptop, cluster, name, listed, found)) is not None:
            return told
        assert time.monotonic() < deadline, f"{found} in the queue, and on record: {listed}"
        time.sleep(0.5)


def agreed(
    laptop: Laptop, cluster: Cluster, name: str, listed: dict[str, Any] | None, found: list[str]
) -> str | None:
    """What there is of the session, or None while list and queue do not say the same."""
    if listed is None:
        assert found == [], f"{found} run and no record names them"
        return "no record"
    if found:
        ids = {line.split()[0] for line in found if not line.endswith("-w")}
        # An id that nobody read is found by the job's name.
        return "with a job" if listed["state"] in LIVE and listed["job"] in ids else None
    if listed["state"] in OVER | {"planned"}:
        return f"without a job, {listed['state']}"
    return "without a job, the submit open" if is_open(laptop, cluster, name, listed) else None


def is_open(laptop: Laptop, cluster: Cluster, name: str, listed: dict[str, Any]) -> bool:
    """Whether "queued" is the truth without a job: nobody can know yet that none will come.

    That is so if the submit was sent, no answer was read and none lies on the site, and for a
    limited time.
    """
    file = laptop.home / "state" / "sessions" / name / "record.json"
    sent = json.loads(file.read_text())["submitting"]
    answer = cluster.ssh(f"cat .hpclaunch/sessions/{name}-*/submitted 2>/dev/null || :")
    return (
        (listed["state"], listed["job"]) == ("queued", None)
        and sent is not None
        and time.time() - sent < NEVER_CAME
        and not answer.startswith("0\n")
    )


def must_attach(laptop: Laptop, name: str) -> None:
    """A job that lives can be reached again."""
    options = ("--json", "--detach", "--no-browser", "--timeout", "240")
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
    pattern = f"[s]ubmit.sh.*/?{name}-"
    return bool(cluster.ssh(f"pgrep -u alice -f '{pattern}' || [ $? = 1 ]").strip())
