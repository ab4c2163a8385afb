"""Workers as jobs of their own: submitted, refused, cancelled, by commands that run for real."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpclaunch.node import address
from hpclaunch.node.layout import CLUSTER_PAGE, Layout
from tests.clusters.fakes import Fake
from tests.node.live import TIDY, UMASK, Live, agent, make_session
from tests.support.launch import processes_with

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not address.for_nodes(), reason="this machine has no address but loopback"),
]

JOBS = {
    "mode": "jobqueue",
    "workers": 2,
    "cores": 1,
    "memory": 500_000_000,
    "walltime": 3600,
    "queue": "standard",
    "account": "project 1",
    "qos": None,
    "job_name": "hpclaunch-demo-0123456789ab-w",
    "extra_directives": ["--constraint=cpu"],
    "setup": ["export FROM_SETUP='set by the site'"],
    "local_directory": "$SCRATCH_OF_NODE",
}


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Fake]:
    found = Fake.install(tmp_path / "slurm")
    yield found
    found.kill()


def wait(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


def inside(slurm: Fake, tmp_path: Path) -> dict[str, str]:
    """The environment of the session's own job."""
    (tmp_path / "scratch").mkdir()
    return {
        "PATH": slurm.path,
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_END_TIME": str(int(time.time()) + 1000),
        "SLURM_NTASKS": "1",
        "SBATCH_ACCOUNT": "somebody",
        "SCRATCH_OF_NODE": str(tmp_path / "scratch"),
    }


def start(tmp_path: Path) -> Path:
    return make_session(tmp_path / "demo", scheduler="slurm", dask=JOBS, ends_in=10**6)


def test_session_with_worker_jobs(tmp_path: Path, slurm: Fake) -> None:
    with agent(start(tmp_path), tmp_path / "home", **inside(slurm, tmp_path)) as running:
        told = running.wait_for(Layout.RENDEZVOUS)
        assert told["addresses"] == address.for_login()
        assert told["dask"]["mode"] == "jobqueue"
        assert address.for_nodes()[0] in told["dask"]["scheduler"]
        with running.kernel() as kernel:
            check_notebook(running, kernel.run)
        check_submission(slurm, running)
        check_scaling(running, slurm)
        assert running.end(seconds=TIDY) == 0
    assert slurm.cancelled == set(slurm.jobs) == {"1_0", "1_1", "2"}
    wait(lambda: not slurm.alive, 10)
    state = running.json(Layout.DASK_STATE)
    assert (state["jobs"], state["state"]) == ([], "closed"), "it was not killed"


def check_notebook(running: Live, run: Callable[[str], str]) -> None:
    """`Client()` reaches the workers, and `SLURMCluster()` is configured for the site."""
    run("from dask.distributed import Client; client = Client()")
    run("client.wait_for_workers(2, timeout=60)")
    assert run("print(sum(client.gather(client.map(abs, range(-9, 0)))))") == "45\n"
    code = """
import json, os
def look(dask_worker):
    told = {key: os.environ.get(key) for key in ("FROM_SETUP", "SLURM_NTASKS", "SLURM_JOB_ID")}
    return {**told, "cwd": os.getcwd(), "scratch": dask_worker.local_directory,
            "name": dask_worker.name, "umask": os.umask(0o027), "life": dask_worker.lifetime}
print(json.dumps(list(client.run(look).values())))
"""
    for told in json.loads(run(code)):
        assert told["FROM_SETUP"] == "set by the site"
        assert told["SLURM_NTASKS"] is None
        assert told["SLURM_JOB_ID"] in ("1_0", "1_1")
        assert told["cwd"] == running.environment["HOME"]
        assert told["scratch"].startswith(running.environment["SCRATCH_OF_NODE"])
        assert told["umask"] == UMASK
        assert 600 < told["life"] <= 900
    code = """
from dask_jobqueue import SLURMCluster
own = SLURMCluster()
print(own.scheduler_address)
print(own.job_script())
own.close()
"""
    scheduler, _, script = run(code).partition("\n")
    assert scheduler.startswith(f"tls://{address.for_nodes()[0]}:")
    for line in ("#SBATCH -p standard", "#SBATCH -A 'project 1'", "#SBATCH --constraint=cpu"):
        assert line in script.splitlines()
    assert f"export DASK_CONFIG={running.directory}/dask" in script


def check_submission(slurm: Fake, running: Live) -> None:
    """What sbatch was given."""
    assert sorted(slurm.jobs) == ["1_0", "1_1"]
    assert slurm.calls.count("sbatch") == 1
    for job in slurm.jobs.values():
        assert job["name"] == "hpclaunch-demo-0123456789ab-w"
        assert job["cwd"] == running.environment["HOME"]
        inherited = job["environment"]
        assert isinstance(inherited, dict)
        assert not [name for name in inherited if name.startswith(("SLURM_", "SBATCH_"))]
        script = str(job["script"])
        # 1000 s are left to the session: a minute is kept, and SLURM counts in minutes.
        assert "#SBATCH --time=00:15:00" in script
        assert running.token not in script + json.dumps(job)


def check_scaling(running: Live, slurm: Fake) -> None:
    """The notebook, the laptop and the file on disk speak of the same cluster."""
    wait(lambda: alike(running) == {"1_0": "running", "1_1": "running"})
    with running.kernel() as kernel:
        assert kernel.run("from dask.distributed import Client; client = Client()") == ""
        assert "2 workers of 1 threads" in (shown := kernel.run("print(client.cluster)"))
        assert "2 jobs running" in shown
        slurm.hold("Priority")
        kernel.run("client.cluster.scale(3)")
        wait(lambda: "1 jobs queued (Priority)" in kernel.run("print(client.cluster)"))
        wait(lambda: alike(running).get("2") == "queued")
        slurm.refuse("sbatch: error: no more today")
        said = kernel.run(
            "try:\n    client.cluster.scale(5)\nexcept Exception as error:\n    print(error.said)"
        )
        assert said == "sbatch: error: no more today\n"
    status, _, body = running.request("/dask/jobs")
    assert status == 200
    assert b"<td>2</td><td>queued</td><td>Priority</td>" in body
    assert running.request("/dask/jobs", token=None)[0] in (302, 403)
    status, _, body = running.request(CLUSTER_PAGE, token=None)
    assert status in (302, 403) and b"jobs" not in body
    status, _, body = running.request(CLUSTER_PAGE, method="POST", token=None, body={"workers": 9})
    assert status in (302, 403)
    told = json.loads(running.request(CLUSTER_PAGE)[2])["cluster"]
    assert (told["workers"], told["present"]) == (5, 2)
    assert told["problem"] == "sbatch: error: no more today"
    status, _, body = running.request(CLUSTER_PAGE, method="POST", body={"workers": -1})
    assert "-1 workers" in json.loads(body)["error"]["what"]
    assert len(slurm.jobs) == 3


def alike(running: Live) -> dict[str, str]:
    """The jobs and their states, where the page and the file say the same; else nothing."""
    page = json.loads(running.request(CLUSTER_PAGE)[2])["cluster"]["jobs"]
    file = running.json(Layout.DASK_STATE)["jobs"]
    return {job["id"]: job["state"] for job in page} if page == file else {}


def test_refused_worker_jobs_are_told_and_the_notebook_lives(tmp_path: Path, slurm: Fake) -> None:
    words = "sbatch: error: Batch job submission failed: Invalid account"
    slurm.refuse(words)
    with agent(start(tmp_path), tmp_path / "home", **inside(slurm, tmp_path)) as running:
        running.wait_for(Layout.RENDEZVOUS)
        wait(lambda: running.json(Layout.DASK_STATE)["problem"])
        assert running.json(Layout.DASK_STATE)["problem"] == words
        assert words in (running.directory / Layout.HOLDER_LOG).read_text()
        assert running.request("/api/status")[0] == 200
        assert running.end() == 0


def test_end_during_a_submission_leaves_no_job(tmp_path: Path, slurm: Fake) -> None:
    slurm.delay(1.5)
    with agent(start(tmp_path), tmp_path / "home", **inside(slurm, tmp_path)) as running:
        wait(lambda: processes_with(str(slurm.bin / "sbatch")))
        assert slurm.jobs == {}, "the submission is under way"
        assert running.end() == 0
    assert slurm.cancelled == set(slurm.jobs)
    wait(lambda: not slurm.alive, 10)
