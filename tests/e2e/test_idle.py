"""An abandoned session ends by itself; a cell that runs while the laptop sleeps does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest
import websocket

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, kernel, processes_with, signal_each

LIMIT, CELL = 6, 12  # seconds
CODE = """
import os, time
patience = time.time() + 60
while not os.path.exists("{name}.asleep") and time.time() < patience:
    time.sleep(0.1)
began = time.time()
time.sleep({seconds})
open("{name}", "w").write(f"{{began}} {{time.time()}}")
"""


@pytest.mark.cluster
def test_a_cell_outlives_a_sleeping_laptop_and_then_the_session_ends_with_its_workers(
    laptop: Laptop, cluster: Cluster
) -> None:
    name = f"idle-{os.getpid()}"
    options = ("--name", name, "--workers", "1", "--set", f"session.idle_limit={LIMIT}s")
    started = subprocess.run(
        laptop.argv("start", str(PROFILE), "--json", "--detach", "--no-browser", *options),
        env=laptop.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert started.returncode == 0, started.stderr
    assert f"unused for 00:00:0{LIMIT} it ends by itself" in started.stderr
    document = json.loads(started.stdout)
    begin_a_cell(document, CODE.format(name=name, seconds=CELL))
    numbers = processes_with(str(laptop.home))
    assert numbers, "the keeper at least"
    signal_each(numbers, signal.SIGSTOP)
    try:
        cluster.ssh(f"touch {name}.asleep")  # only now the cell's seconds begin
        ended_at = await_end(cluster, document, CELL + LIMIT + 25)
        cell = cluster.ssh(f"cat {name} && rm {name} {name}.asleep").split()
        cell_began, cell_ended = map(float, cell)
        assert cell_ended - cell_began >= CELL
        assert ended_at > cell_ended + LIMIT, "not before the cell and the limit"
        eventually(lambda: not jobs(cluster, name), timeout=20, what="its workers are gone as well")
        left = cluster.ssh(f"find .hpclaunch/sessions/{name}-* -type f -printf '%P '")
        assert "token" not in left and ".key" not in left, "nothing secret is left"
    finally:
        signal_each(numbers, signal.SIGCONT)
    ended = eventually(lambda: (one := laptop.sessions()[name])["state"] == "ended" and one)
    assert ended["reason"].startswith(f"ended: idle for 0:00:0{LIMIT}")
    assert ended["idle_limit"] == f"00:00:0{LIMIT}"
    why = laptop.json("why", name, "--json")
    assert why["cause"] == ended["reason"] and "idle_limit" in why["next"]
    asked = f"sacct -n -X -P -o state,exitcode -j {document['job']['id']}"
    # The accounting may lag behind the scheduler.
    accounted = eventually(lambda: (one := cluster.ssh(asked).strip()) and "RUN" not in one and one)
    assert accounted == "COMPLETED|0:0"


@pytest.mark.local
def test_no_limit_is_shown_where_there_is_none(laptop: Laptop) -> None:
    options = ("--workers", "0", "--set", "session.idle_limit=0")
    done = laptop.run("start", "local", "--detach", "--no-browser", *options)
    assert done.returncode == 0 and "ends by itself" not in done.stderr
    ((_, listed),) = laptop.sessions().items()
    assert listed["idle_limit"] is None


def begin_a_cell(document: dict[str, object], code: str) -> None:
    """Start a cell in a new kernel, and close the page once it runs."""
    api = kernel(document)
    identity = api.request("POST", "/api/kernels", {})["id"]
    address = str(document["url"]).split("/lab")[0].replace("http", "ws", 1)
    page = websocket.create_connection(
        f"{address}/api/kernels/{identity}/channels",
        header=[f"Authorization: token {document['token']}"],
        timeout=30,
    )
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "1", "username": "",
              "version": "5.3"}  # fmt: skip
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    page.send(
        json.dumps({"header": header, "parent_header": {}, "metadata": {}, "channel": "shell",
                    "content": content})
    )  # fmt: skip
    while json.loads(page.recv())["msg_type"] != "execute_input":
        pass
    page.close()
    # A laptop that falls asleep before the node has heard of it leaves a page open for a minute.
    eventually(lambda: api.request("GET", f"/api/kernels/{identity}")["connections"] == 0)


def await_end(cluster: Cluster, document: dict[str, Any], patience: float) -> float:
    """Wait for the end of the session's own job; returns when it was, at the latest.

    Slurm must name the job all the time: it forgets one only a minute after its end. It tells
    whole seconds, rounded down.
    """
    asked = f"env SLURM_TIME_FORMAT=%s squeue -h --states=all -j {document['job']['id']} -o '%T %e'"
    deadline = time.monotonic() + patience
    while True:
        said = cluster.ssh(f"{asked} 2>&1 || :").strip()
        word, _, end = said.partition(" ")
        assert word.isupper() and end.isdigit(), said
        if word not in ("RUNNING", "COMPLETING"):
            return float(end) + 1
        assert time.monotonic() < deadline, f"not ended within {patience} s: {said}"
        time.sleep(1.0)


def jobs(cluster: Cluster, name: str) -> list[str]:
    """All jobs of a session that are in the queue."""
    return [line for line in cluster.jobs() if f"hpclaunch-{name}-" in line]
