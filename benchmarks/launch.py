"""From the command to the first authenticated answer of ``/api/status`` on the laptop.

Peers: ``launch.sh``, what a person would write by hand with ssh, sbatch, a poll every 0.1 s and
``ssh -L`` on the same container cluster, and ``jupyter-forward`` with its batch command, all in the
same round. Site: the idle container cluster.
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchmarks.forward import Forward
from benchmarks.table import Table
from tests.support.cluster import DOCKER, PROFILE, bring_up
from tests.support.launch import Laptop

PEER = "by hand (bash)"
ROUNDS = 7
TRANSPORTS = ("openssh", "paramiko")


def run(rounds: int) -> list[Table]:
    """Seconds of each way, `rounds` times in turn, after one round that does not count."""
    bring_up()
    with tempfile.TemporaryDirectory(prefix="hpcl-", dir="/tmp") as home:
        laptop = Laptop(Path(home))
        with contextlib.closing(Forward()) as forward:
            found = [one_round(laptop, forward, turn) for turn in range(rounds + 1)][1:]
    title = "launch: seconds until JupyterLab answers on the laptop (docker cluster)"
    return [Table(title, found, PEER)]


def one_round(laptop: Laptop, forward: Forward, turn: int) -> dict[str, float]:
    """One start each way, everything ended again afterwards.

    Each round begins with another way: what one leaves to be cleared away meets the next.
    """
    ways: list[Callable[[], dict[str, float]]] = [
        lambda: {PEER: by_hand()},
        *(functools.partial(start, laptop, transport) for transport in TRANSPORTS),
        lambda: {"jupyter-forward": forward.launch()},
    ]
    found = {}
    for number in range(len(ways)):
        found[number] = ways[(number + turn) % len(ways)]()
    out: dict[str, float] = {}
    for number in sorted(found, key=lambda one: (one + turn) % len(ways)):
        out |= found[number]
    return out


def by_hand() -> float:
    done = subprocess.run(
        [
            str(Path(__file__).with_name("launch.sh")),
            str(DOCKER / "run" / "ssh_config"),
            "hpclaunch-login",
            "/opt/site-env/bin/python",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return float(done.stdout)


def start(laptop: Laptop, transport: str) -> dict[str, float]:
    """Seconds of one start, and of its phases as it tells them."""
    began = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hpclaunch", "start", str(PROFILE), "--json", "--no-browser"),
            *("--workers", "0", "--set", f"login.transport={transport}"),
        ],
        env=laptop.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    document = json.loads(process.stdout.readline())
    url = document["url"].replace("/lab?", "/api/status?")
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()
    seconds = time.monotonic() - began
    laptop.run("stop", document["name"])
    process.wait(30)
    deadline = time.monotonic() + 30
    while laptop.keepers() and time.monotonic() < deadline:  # each start begins from nothing
        time.sleep(0.1)
    phases = {f"  {name} ({transport})": took for name, took in document["timings"].items()}
    return {f"hpclaunch ({transport})": seconds, **phases}
