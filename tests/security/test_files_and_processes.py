"""Neither files nor processes of a session tell other users anything, nor can they be changed."""

from __future__ import annotations

import pytest

from tests.security.conftest import NODES, Victim
from tests.security.stranger import (
    MALLORY_ON_C1,
    MALLORY_ON_LOGIN,
    MALLORYS,
    SOMEBODY_ON_LAPTOP,
    User,
)

pytestmark = pytest.mark.cluster

PROBES = pytest.mark.parametrize("mallory", MALLORYS, ids=str)


def found(victim: Victim, machine: str, *where: str) -> list[str]:
    """Everything of alice's below some directories, as root sees it."""
    return victim.cluster.root(machine, "find", *where, "-user", "alice").splitlines()


@PROBES
def test_no_file_of_the_session_can_be_read_changed_or_replaced(
    victim: Victim, mallory: User
) -> None:
    paths = found(victim, mallory.machine, victim.directory)
    names = {path.removeprefix(victim.directory + "/") for path in paths}
    assert names >= {"token", "tls/jupyter.key", "tls/dask.key", "dask/dashboard.secret",
                     "jupyter_config.json", "rendezvous.json", "job.log", "runtime"}  # fmt: skip
    assert mallory.runs("ls", "/home/alice").returncode == 0, "homes are open in this test"
    assert mallory.tries("files", paths=paths) == []


@PROBES
def test_what_hpclaunch_brings_along_cannot_be_changed(victim: Victim, mallory: User) -> None:
    base = victim.directory.rpartition("/sessions/")[0]
    paths = [base, f"{base}/sessions", *found(victim, mallory.machine, f"{base}/lib")]
    assert any(path.endswith("/hpclaunch/node/agent.py") for path in paths)
    assert mallory.tries("files", paths=paths) == []


@PROBES
def test_nothing_of_the_session_lies_open_outside_its_directory(
    victim: Victim, mallory: User
) -> None:
    places = ("/tmp", "/var/tmp", "/dev/shm", "/run")
    paths = found(victim, mallory.machine, *places, "-newer", f"{victim.directory}/session.json")
    if mallory.machine == victim.node:
        assert any(path.startswith("/tmp/hpclaunch-") for path in paths)
    assert mallory.tries("files", paths=paths) == []


def test_the_directory_and_every_secret_are_private_by_their_own_modes(victim: Victim) -> None:
    text = victim.cluster.root("login", "find", victim.directory, "-printf", "%P %m\n")
    modes = dict(line.rsplit(maxsplit=1) for line in text.splitlines() if not line.startswith(" "))
    assert victim.cluster.root("login", "stat", "-c", "%a", victim.directory).strip() == "700"
    for name in ("token", "tls/jupyter.key", "tls/dask.key", "dask/dashboard.secret",
                 "jupyter_config.json", "rendezvous.json", "job.log"):  # fmt: skip
        assert modes[name] == "600", name


@pytest.mark.parametrize("watcher", [*MALLORYS, SOMEBODY_ON_LAPTOP], ids=str)
def test_no_argv_holds_a_secret_from_the_first_moment_on(victim: Victim, watcher: User) -> None:
    seen = victim.seen_at_start[str(watcher)]
    # await.sh stays for seconds; a submit.sh can come and go between two looks. On a node without
    # the session's job there may be nothing of it to see.
    expected = {
        "login": "await.sh", "laptop": "hpclaunch.keeper", victim.node: "hpclaunch.node.agent",
    }.get(watcher.machine, "slurmd")  # fmt: skip
    assert any(expected in argv for argv in seen["argvs"]), "the watcher watched"
    for name, secret in victim.secrets.items():
        assert not [argv for argv in seen["argvs"] if secret in argv], name


@pytest.mark.parametrize("watcher", [*MALLORYS, SOMEBODY_ON_LAPTOP], ids=str)
def test_environment_memory_and_files_of_processes_stay_closed(
    victim: Victim, watcher: User
) -> None:
    assert victim.seen_at_start[str(watcher)]["read"] == []


def test_no_environment_holds_a_secret(victim: Victim) -> None:
    secrets = victim.secrets
    for node in NODES:
        pids = victim.processes(node)
        assert pids or node != victim.node
        for pid in pids:
            text = victim.cluster.root(node, "sh", "-c", f"cat /proc/{pid}/environ || :")
            assert [name for name, secret in secrets.items() if secret in text] == []


@pytest.mark.parametrize(
    "question",
    [
        "scontrol show job {job} --details",
        "squeue -j {job} -O JobID:20,Name:200,Command:300,Comment:200,StdOut:300,WorkDir:300",
        "sacct -j {job} -P -o ALL",
        "scontrol write batch_script {job} -",
    ],
)
def test_slurm_tells_others_no_secret(victim: Victim, question: str) -> None:
    command = question.format(job=victim.document["job"]["id"])
    said = MALLORY_ON_LOGIN.runs(*command.split())
    text = (said.stdout + said.stderr).decode()
    assert [name for name, secret in victim.secrets.items() if secret in text] == []
    if "write" in command:
        assert "hpclaunch" not in text and "Invalid user" in text, "the script is alice's alone"
    else:
        assert victim.document["job"]["id"] in text, "the question was answered"


def test_neither_job_nor_processes_can_be_ended(victim: Victim) -> None:
    assert (
        b"Access/permission denied"
        in MALLORY_ON_LOGIN.runs("scancel", victim.document["job"]["id"]).stderr
    )
    node = victim.node
    pids = victim.processes(node)
    user = User("mallory", node)
    assert user.runs("kill", "-KILL", *map(str, pids)).returncode != 0
    # The session may have begun a process meanwhile.
    assert pids and set(pids) <= set(victim.processes(node))


def test_the_log_holds_no_secret(victim: Victim) -> None:
    logs = [path for path in found(victim, "login", victim.directory) if path.endswith(".log")]
    assert len(logs) >= 3, "the job's, the holder's and a worker's"
    text = "".join(victim.cluster.root("login", "cat", path) for path in logs)
    assert "Jupyter answers" in text
    assert [name for name, secret in victim.secrets.items() if secret in text] == []
    assert MALLORY_ON_C1.runs("cat", *logs).stdout == b""
