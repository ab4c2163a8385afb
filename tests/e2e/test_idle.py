"""An abandoned session ends by itself; a cell that runs while the laptop sleeps does not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest
import websocket

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, kernel, processes_with

pytestmark = pytest.mark.cluster

LIMIT, CELL = 6, 20  # seconds


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
    begin_a_cell(document, f"import time; time.sleep({CELL}); open('{name}', 'w').write('done')")
    numbers = processes_with(str(laptop.home))
    assert numbers, "the keeper at least"
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    began = time.monotonic()
    try:
        while time.monotonic() - began < CELL - 3:
            assert states(cluster, document), "the session must live until the cell has ended"
            time.sleep(1.0)
        eventually(lambda: not states(cluster, document), timeout=LIMIT + 25, what="it has ended")
        assert time.monotonic() - began > CELL, "not before the cell"
        assert cluster.ssh(f"cat {name}; rm {name}") == "done"
        eventually(lambda: not jobs(cluster, name), timeout=20, what="its workers are gone as well")
        left = cluster.ssh(f"find .hpclaunch/sessions/{name}-* -type f -printf '%P '")
        assert "token" not in left and ".key" not in left, "nothing secret is left"
    finally:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)
    ended = eventually(lambda: (one := laptop.sessions()[name])["state"] == "ended" and one)
    assert ended["reason"].startswith(f"ended: idle for 0:00:0{LIMIT}")
    assert ended["idle_limit"] == f"00:00:0{LIMIT}"
    why = laptop.json("why", name, "--json")
    assert why["cause"] == ended["reason"] and "idle_limit" in why["next"]
    asked = f"sacct -n -X -P -o state,exitcode -j {document['job']['id']}"
    # The accounting may lag behind the scheduler.
    accounted = eventually(lambda: (one := cluster.ssh(asked).strip()) and "RUN" not in one and one)
    assert accounted == "COMPLETED|0:0"


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


def states(cluster: Cluster, document: dict[str, object]) -> list[str]:
    """What the queue says of the session's own job."""
    job = document["job"]
    assert isinstance(job, dict)
    said = cluster.ssh(f"squeue -h -j {job['id']} -o %T 2>/dev/null", check=False).split()
    return [word for word in said if word != "COMPLETING"]


def jobs(cluster: Cluster, name: str) -> list[str]:
    """All jobs of a session that are in the queue."""
    return [line for line in cluster.jobs() if f"hpclaunch-{name}-" in line]
