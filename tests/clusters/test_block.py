"""A session whose workers are ranks (--dask mpi), on this machine: MPI for real, one node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.node.dask import CONTROL
from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import descendants
from tests.clusters.look import ask, bokeh, secret_of
from tests.clusters.test_batch import ALONE, stand_in
from tests.node.live import TIDY, Kernel, Live, agent, make_session
from tests.support.launch import eventually

pytestmark = pytest.mark.local

BLOCK = {
    "nodes": 1, "workers_per_node": 2, "others": 1, "threads": 1,
    "memory": 1_500_000_000, "launcher": None,
}  # fmt: skip


@contextlib.contextmanager
def session(folder: Path, **block: Any) -> Iterator[Live]:
    """A session with two workers, as ranks of this machine's MPI library."""
    directory = make_session(
        folder / "session",
        dask={"mode": "mpi", "workers": 2},
        block={**BLOCK, **block},
        start_timeout=60,
    )
    with agent(directory, folder / "home", TMPDIR=str(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with session(tmp_path_factory.mktemp("block")) as running:
        running.wait_for(Layout.RENDEZVOUS)
        yield running


@pytest.fixture(scope="module")
def kernel(live: Live) -> Iterator[Kernel]:
    with live.kernel() as running:
        running.run("from dask.distributed import Client\nclient = Client()")
        yield running


def test_the_session_is_ready_once_every_rank_is_there(live: Live) -> None:
    told = live.json(Layout.RENDEZVOUS)["dask"]
    assert told.pop("scheduler").startswith("tls://127.0.0.1:")
    assert told == {"mode": "mpi", "workers": 2, "dashboard": True, "problem": None}
    kept = live.json(Layout.DASK_STATE)
    assert (kept["state"], kept["more"]["present"]) == ("running", 2)


def test_client_without_arguments_computes_on_both_ranks(kernel: Kernel) -> None:
    code = """
import dask.array as da, os
print(int((da.arange(1_000_000, chunks=10_000) ** 2).sum().compute()))
workers = client.scheduler_info()["workers"]
print(sorted(one["name"] for one in workers.values()))
print(*({one[key] for one in workers.values()} for key in ("memory_limit", "nthreads")))
print(sorted({address.split(":")[0] for address in workers}), client.dashboard_link)
print(len({*client.run(os.getpid).values(), client.run_on_scheduler(os.getpid)}))
"""
    total, names, sizes, schemes, processes = kernel.run(code).splitlines()
    assert int(total) == sum(n * n for n in range(1_000_000))
    assert names == "['rank-1', 'rank-2']"
    assert sizes == "{500000000} {1}", "three ranks share the memory"
    assert schemes == "['tls'] /dask/status"
    assert processes == "3"


def test_the_number_of_ranks_is_fixed_and_that_is_said(kernel: Kernel, live: Live) -> None:
    said = kernel.run("try: client.cluster.scale(3)\nexcept Exception as error: print(error)")
    assert "2 Dask workers are ranks of its own job: there can be no more and no fewer" in said
    said = kernel.run("try: client.cluster.adapt(1, 4)\nexcept Exception as error: print(error)")
    assert "no more and no fewer" in said
    assert kernel.run("client.cluster.scale(2); print(client.cluster)").startswith(
        "SessionCluster(2 workers of 1 threads and 476.84 MiB"
    )
    status, _, body = live.request("/hpclaunch/cluster", method="POST", body={"workers": 5})
    assert status == 200 and "no more and no fewer" in json.loads(body)["error"]["what"]


def test_the_dashboard_is_behind_the_login_and_nowhere_else(live: Live, kernel: Kernel) -> None:
    status, _, body = live.request("/dask/status")
    assert status == 200
    channel = bokeh(live, body, "/dask/status")
    assert '"msgtype":"ACK"' in str(channel.recv()).replace(" ", "")
    channel.close()
    assert live.request("/dask/status", token=None)[0] == 302
    port = int(kernel.run("print(client.scheduler_info()['services']['dashboard'])"))
    assert ask(port, "/status")[0] == 403
    assert ask(port, "/status", secret_of(live))[0] == 200


def test_a_cluster_of_the_users_own_is_not_this_one(kernel: Kernel) -> None:
    code = """
from dask.distributed import LocalCluster
with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as own:
    with Client(own) as other:
        print(own.scheduler_address.split(":")[0], other.submit(sum, [1, 2]).result())
"""
    assert kernel.run(code) == "tls 3\n"


def test_the_control_socket_is_private(live: Live, kernel: Kernel) -> None:
    folder = kernel.run("import dask; print(dask.config.get('hpclaunch.node-directory'))").strip()
    assert (Path(folder) / CONTROL).stat().st_mode & 0o777 == 0o600
    assert Path(folder).stat().st_mode & 0o777 == 0o700


def test_an_end_leaves_no_rank_and_no_file_behind(live: Live) -> None:
    scratch = Path(live.environment["TMPDIR"])
    children = descendants(live.process.pid)
    assert len(children) >= 5, "Jupyter, the launcher and three ranks"
    assert len(list(scratch.glob("hpclaunch-*"))) == 4, "the node's directory, and each rank's own"
    assert live.end(seconds=TIDY) == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert list(scratch.glob("hpclaunch-*")) == []
    assert not any((live.directory / name).exists() for name in Layout.SECRETS)
    assert not (live.directory / Layout.FAILURE).exists()


def test_a_rank_that_dies_is_told_and_notebooks_go_on(tmp_path: Path) -> None:
    with session(tmp_path) as live:
        live.wait_for(Layout.RENDEZVOUS)
        children = descendants(live.process.pid)
        assert len(children) >= 5, "Jupyter, the launcher and three ranks"
        with live.kernel() as kernel:
            kernel.run("kept = 41")
            pid = kernel.run(
                "import os\nfrom dask.distributed import Client\n"
                "print(Client().run(os.getpid).popitem()[1])"
            )
            os.kill(int(pid), signal.SIGKILL)
            eventually(lambda: live.json(Layout.DASK_STATE)["state"] == "dead", what="dead")
            problem = live.json(Layout.DASK_STATE)["problem"]
            assert problem.endswith("with one rank all of them end"), problem
            assert "EXIT CODE: 9" in problem or "SIGNAL" in problem.upper(), problem
            assert kernel.run("print(kept + 1)") == "42\n"
        told = json.loads(live.request("/hpclaunch/cluster")[2])["error"]
        assert (told["what"], told["said"]) == (
            "the session's Dask cluster has ended, notebooks go on", problem,
        )  # fmt: skip
        assert "notebooks go on" in live.log
        assert live.end(seconds=TIDY) == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert not any((live.directory / name).exists() for name in Layout.SECRETS)
    assert not (live.directory / Layout.FAILURE).exists()


def failure_of(live: Live) -> dict[str, Any]:
    """Why a session never was ready."""
    assert live.process.wait(90) != 0
    failure: dict[str, Any] = live.json(Layout.FAILURE)
    assert failure["hint"] and "Traceback" not in failure["what"], live.log
    return failure


def test_ranks_that_think_they_are_alone_are_told_of_the_launcher(tmp_path: Path) -> None:
    with session(tmp_path, launcher=[str(stand_in(tmp_path, "srun", ALONE))]) as live:
        failure = failure_of(live)
    assert failure["cause"] == "mpi-mismatch"
    assert failure["what"].startswith("3 ranks were started, but each thinks that there are 1")


def test_what_ranks_lack_ends_the_start_at_once(tmp_path: Path) -> None:
    with session(tmp_path / "a", launcher=["no-such-launcher"]) as live:
        failure = failure_of(live)
    assert failure["cause"] == "no-launcher" and "no-such-launcher" in failure["what"]
    with session(tmp_path / "b", memory=10**15) as live:
        failure = failure_of(live)
    assert failure["cause"] == "over-committed"
    assert "the ranks of a node would use 1000000.0 GB" in failure["what"]


def test_a_launcher_that_ends_says_why_the_session_did(tmp_path: Path) -> None:
    words = '#!/bin/sh\necho "srun: error: no such plugin" >&2; exit 1\n'
    with session(tmp_path, launcher=[str(stand_in(tmp_path, "srun", words))]) as live:
        failure = failure_of(live)
    assert failure["cause"] == "mpi-failed"
    assert "before they had formed a Dask cluster" in failure["what"]
    assert "no such plugin" in failure["said"]
