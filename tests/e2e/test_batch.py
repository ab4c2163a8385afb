"""Batch jobs on the cluster: a script on ranks of two nodes, and every way it may end."""

from __future__ import annotations

import json
import re
import shutil
import signal
import textwrap
from pathlib import Path

import nbformat
import pytest

from tests.e2e import expected
from tests.security.stranger import User
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually

pytestmark = pytest.mark.cluster

NOTEBOOK = Path(__file__).with_name("climate.ipynb")
SITE = str(PROFILE)
TWO_NODES = ("--nodes", "2", "--workers-per-node", "1")
GOES_ON = """
    import os, socket, sys, time
    from distributed import Client

    client = Client()
    where = client.run(lambda: (socket.gethostname(), os.getpid()))
    for host, pid in sorted(where.values()):
        print("worker", host, pid)
    print("script", socket.gethostname(), os.getpid())
    print("scheduler", *client.run_on_scheduler(lambda: (socket.gethostname(), os.getpid())))
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _quiet_cluster(cluster: Cluster) -> None:
    cluster.ssh("scancel -u alice")
    eventually(lambda: not cluster.jobs(), what="alice has no jobs")


def script(folder: Path, text: str) -> str:
    """A script on the laptop."""
    file = folder / "run.py"
    file.write_text(textwrap.dedent(text))
    return str(file)


def processes(cluster: Cluster) -> list[str]:
    """What alice runs on the compute nodes."""
    found = [cluster.root(node, "pgrep", "-u", "alice", "-a", check=False) for node in ("c1", "c2")]
    return "".join(found).splitlines()


def test_a_climate_script_on_two_nodes_gives_the_values_of_plain_xarray(
    laptop: Laptop, cluster: Cluster, climate: Path, climate_there: str, tmp_path: Path
) -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    text = "import os, sys\nos.environ['CLIMATE_DATA'] = sys.argv[1]\n"
    path = script(tmp_path, text + "\n".join(cell.source for cell in cells))
    done = laptop.run("batch", SITE, path, climate_there, *TWO_NODES, "--wait", timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # A launcher may have a last word when ranks are slow to leave.
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found = json.loads(line)
    assert found["hosts"] == ["c1", "c2"]
    expected.holds(found, climate)

    assert cluster.jobs() == []
    one = laptop.sessions()["docker-1"]
    assert (one["kind"], one["state"], one["exit"]) == ("batch", "ended", 0)
    directory = f"~/.hpclaunch/sessions/docker-1-{record(laptop, 'docker-1')['nonce']}"
    kept = cluster.files(directory, "-type f -printf '%P\\n'")
    assert {"job.sh", "batch.json", "program/run.py", "session.json", "job.log"} <= set(kept)
    assert not any(name.startswith(("tls/", "dask/", "token")) for name in kept), kept
    assert laptop.run("stop", "docker-1").returncode == 0
    assert cluster.files(directory) == []


def test_a_climate_notebook_on_two_nodes_is_saved_beside_the_original(
    laptop: Laptop, cluster: Cluster, climate: Path, climate_there: str, tmp_path: Path
) -> None:
    assert climate_there == "/home/alice/data", "where the notebook looks, from its own directory"
    original = shutil.copy(NOTEBOOK, tmp_path / "climate.ipynb")
    done = laptop.run(
        *("batch", SITE, str(original), *TWO_NODES, "--environment", "openmpi", "--wait", "--json"),
        timeout=240,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = json.loads(done.stdout)
    assert told["outputs"] == ["/home/alice/climate.out.ipynb", "/home/alice/climate.html"]
    for name in ("climate.out.ipynb", "climate.html"):
        assert cluster.ssh(f"cat {name}") == (tmp_path / name).read_text()
    cluster.ssh("rm climate.out.ipynb climate.html")
    executed = nbformat.read(tmp_path / "climate.out.ipynb", as_version=4)
    assert [cell.source for cell in executed.cells] == [
        cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells
    ]
    text = next(one.text for one in executed.cells[-1].outputs if one.output_type == "stream")
    found = json.loads(text.splitlines()[-1])
    assert found["hosts"] == ["c1", "c2"]
    expected.holds(found, climate)
    assert text in done.stderr, "what cells say is in the log"


def record(laptop: Laptop, name: str) -> dict[str, object]:
    """The laptop's record of a batch."""
    file = laptop.home / "state" / "sessions" / name / "record.json"
    kept: dict[str, object] = json.loads(file.read_text())
    return kept


def test_the_scripts_exit_code_and_traceback_come_back_and_again(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    text = """
        import sys
        from distributed import Client
        client = Client()
        print("sum", sum(client.gather(client.map(abs, range(int(sys.argv[1]))))))
        if len(sys.argv) > 2:
            sys.exit(int(sys.argv[2]))
        raise ValueError("not good enough")
    """
    path = script(tmp_path, text)
    done = laptop.run("batch", SITE, path, "10", *TWO_NODES, "--wait", "--name", "raises")
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    said, _, trace = done.stdout.partition("Traceback (most recent call last):\n")
    assert "sum 45\n" in said
    assert re.match(r'  File ".*/run.py", line 8, in <module>\n', trace), done.stdout
    assert trace.endswith("ValueError: not good enough\n")
    assert "error: run.py ended with exit code 1 (job" in done.stderr
    assert cluster.jobs() == [] and processes(cluster) == []

    Path(path).unlink()  # the recorded one is run
    again = laptop.run("batch", "--again", "raises", "--wait", "--json", "--name", "again")
    assert again.returncode == 1, again.stderr
    told = json.loads(again.stdout)
    assert (told["name"], told["state"], told["exit"], told["ranks"]) == ("again", "failed", 1, 4)
    assert "sum 45\n" in again.stderr and "ValueError: not good enough" in again.stderr
    why = laptop.json("why", "again", "--json")
    assert why["cause"].startswith("run.py ended with exit code 1")
    assert "ValueError: not good enough" in why["evidence"]


def started(laptop: Laptop, cluster: Cluster, tmp_path: Path, name: str) -> dict[str, list[str]]:
    """Leave a batch running whose script goes on; hosts and process numbers by role."""
    told = laptop.json(
        "batch", SITE, script(tmp_path, GOES_ON), *TWO_NODES, "--json", "--name", name
    )
    assert told["state"] in ("queued", "starting") and told["exit"] is None
    log = f"{told['directory']}/job.log"
    text = eventually(
        lambda: (said := cluster.ssh(f"cat {log}")) and "\nscheduler " in said and said, timeout=90
    )
    lines = [line.split() for line in text.splitlines()]
    return {
        f"{words[0]} on {words[1]}": words[1:]
        for words in lines
        if len(words) == 3 and words[0] in ("worker", "script", "scheduler")
    }


def test_a_worker_that_dies_ends_the_job_and_is_named_while_somebody_waits(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    where = started(laptop, cluster, tmp_path, "dies")
    assert sorted(where) == ["scheduler on c1", "script on c1", "worker on c1", "worker on c2"]
    eventually(lambda: laptop.sessions()["dies"]["state"] == "ready", what="it is seen to run")
    assert "run.py runs on c1" in laptop.json("why", "dies", "--json")["cause"]
    refused = laptop.run("attach", "dies")
    assert refused.returncode == 2 and "dies is a batch job" in refused.stderr
    follows = laptop.spawn("logs", "-f", "dies")
    host, pid = where["worker on c2"]
    cluster.root(host, "kill", "-KILL", pid)
    shown, _ = follows.communicate(timeout=60)
    assert follows.returncode == 0 and "scheduler c1 " in shown
    why = laptop.json("why", "dies", "--json")
    assert re.match(r"a Dask worker \(rank 3\) on c2 ended \(Killed\)", why["cause"]), why
    assert "--memory" in why["next"]
    assert laptop.sessions()["dies"]["state"] == "failed"
    eventually(lambda: not cluster.jobs() and not processes(cluster), what="nothing is left")


def test_an_interrupt_lets_the_batch_go_on_and_scancel_from_outside_is_named(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    path = script(tmp_path, GOES_ON)
    waits = laptop.spawn("batch", SITE, path, *TWO_NODES, "--wait", "--name", "mid")
    assert waits.stdout is not None
    while not (line := waits.stdout.readline()).startswith("scheduler "):
        assert line, "the script's output comes while it runs"
    waits.send_signal(signal.SIGINT)
    _, said = waits.communicate(timeout=30)
    assert waits.returncode == 130
    assert "batch mid goes on" in said and "hpclaunch stop mid" in said
    assert len(cluster.jobs()) == 1
    cluster.ssh("scancel -u alice")
    eventually(lambda: laptop.sessions()["mid"]["state"] == "failed", timeout=60)
    why = laptop.json("why", "mid", "--json")
    assert "was cancelled from outside" in why["cause"], why
    assert laptop.sessions()["mid"]["exit"] is None
    eventually(lambda: not cluster.jobs() and not processes(cluster), what="nothing is left")


def refuses_mallory(cluster: Cluster) -> None:
    """Whatever alice's ranks listen on answers nobody else, and has no page to show."""
    text = cluster.root("c1", "ss", "-ltnpH")
    ranks = cluster.root("c1", "pgrep", "-u", "alice", "-f", "hpclaunch.clusters.mpi").split()
    mine = [line for line in text.splitlines() if re.search(rf"pid=({'|'.join(ranks)}),", line)]
    doors = [line.split()[3].rsplit(":", 1) for line in mine]
    assert len(doors) >= 4, f"scheduler and worker, each with a door for pages: {text}"
    mallory = User("mallory", "c1")
    dask = [f"{scheme}://{host}:{port}" for host, port in doors for scheme in ("tcp", "tls")]
    said = mallory.tries("dask", addresses=dask)
    assert [one for one in said.items() if not one[1].startswith("refused")] == []
    pages = [
        {"host": host, "port": int(port), "path": path, "patience": 3}
        for host, port in doors
        for path in ("/status", "/metrics")
    ]
    answers = mallory.tries("web", requests=pages)
    assert not [one for one in answers if not isinstance(one, str) and one[0] not in (403, 404)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ("openmpi", '["mpirun"]'),
        ("mpich", '["/opt/mpich-env/bin/mpiexec"]'),
    ],
)
def test_the_libraries_own_launchers_place_the_ranks_as_srun_does(
    laptop: Laptop, cluster: Cluster, tmp_path: Path, environment: str, launcher: str
) -> None:
    text = """
        from distributed import Client
        found = Client().run(lambda: __import__("socket").gethostname())
        print("workers on", *sorted(found.values()))
        raise SystemExit(5)
    """
    options = ("--environment", environment, "--set", f"mpi.launcher={launcher}")
    done = laptop.run("batch", SITE, script(tmp_path, text), *TWO_NODES, "--wait", *options)
    assert done.returncode == 5, f"{done.stdout}\n{done.stderr}"
    assert "workers on c1 c2\n" in done.stdout
    assert cluster.jobs() == []


@pytest.mark.long
def test_a_script_longer_than_its_walltime_is_told_so(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    path = script(tmp_path, GOES_ON)
    done = laptop.run("batch", SITE, path, "--walltime", "1m", "--wait", timeout=240)
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"error: job \d+ of batch docker-1 .* reached its walltime", done.stderr)
    assert laptop.sessions()["docker-1"]["state"] == "failed"
    eventually(lambda: not cluster.jobs() and not processes(cluster), what="nothing is left")


def test_stop_ends_a_batch_and_a_script_that_is_not_there_is_told_before_it_waits(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    missing = laptop.run("batch", SITE, "~/no/such.py", "--wait")
    assert missing.returncode == 1
    assert "there is no script ~/no/such.py on docker that you may read" in missing.stderr
    assert "No such file" in missing.stderr and cluster.jobs() == []
    started(laptop, cluster, tmp_path, "stops")
    refuses_mallory(cluster)
    assert laptop.run("stop", "stops").returncode == 0
    assert laptop.sessions()["stops"]["state"] == "ended"
    eventually(lambda: not cluster.jobs() and not processes(cluster), what="nothing is left")
