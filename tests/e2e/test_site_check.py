"""`site check` and `doctor` the whole way: on this machine and on the container cluster."""

from __future__ import annotations

import dataclasses
import getpass
import json
import signal
import sys
from pathlib import Path

import pytest

from hpclaunch.sessions.book import Book
from tests.pure.records import record
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, processes_with

pytestmark = pytest.mark.timeout(240)
local = pytest.mark.local
on_cluster = pytest.mark.cluster

SECRET = "Zx9-hunter2_very_secret_0123456789abcdefgh"


def checked(laptop: Laptop, *arguments: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """`site check --json`: what was found, by key."""
    done = laptop.run("site", "check", *arguments, "--json")
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    lines = json.loads(done.stdout)
    assert all(set(one) == {"key", "result", "found"} for one in lines)
    return {one["key"]: (one["result"], one["found"]) for one in lines}


def nothing_left(laptop: Laptop) -> bool:
    """Whether no session, no directory and no process of one is there."""
    folder = laptop.home / "data" / "sessions"
    left = list(folder.iterdir()) if folder.exists() else []
    return not laptop.sessions() and not left and not processes_with(str(folder))


@local
def test_this_machine_is_as_its_profile_says(laptop: Laptop) -> None:
    lines = checked(laptop, "local")
    assert {result for result, _ in lines.values()} == {"holds"}
    assert "jupyterlab" in lines["environments.default"][1]
    assert "it ran on" in lines["job"][1]
    assert "the node answers through the tunnel in" in lines["reach"][1]
    eventually(lambda: nothing_left(laptop), what="nothing is left")


@local
def test_offline_needs_no_way_to_the_site(laptop: Laptop, tmp_path: Path) -> None:
    profile = tmp_path / "far.toml"
    profile.write_text(
        'name = "far"\n[login]\nhost = "no.such.host.invalid"\n[scheduler]\nkind = "slurm"\n'
        '[environments.default]\npython = "/x"\n[session]\nqueue = "no"\n[[queues]]\nname = "q"\n'
    )
    lines = checked(laptop, str(profile), "--offline", code=1)
    found = "'no' is described nowhere in the profile (q)"
    assert lines["session.queue"] == ("differs", found)
    profile.write_text(profile.read_text().replace("[login]", "[lgoin]"))
    lines = checked(laptop, str(profile), "--offline", code=1)
    assert "lgoin" in lines["profile"][1]
    assert laptop.run("site", "check", "nosuch", "--offline").returncode == 1
    assert laptop.run("site", "check", str(profile), "--offline", "--fix").returncode == 2


@local
def test_an_environment_without_jupyterlab_is_told_before_and_by_the_job(
    laptop: Laptop, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    lines = checked(laptop, "local", "--set", f"environments.default.python={python}", code=1)
    assert lines["environments.default"][0] == "differs"
    assert "has no jupyterlab, jupyter_server" in lines["environments.default"][1]
    assert lines["job"][0] == "differs"
    assert "has no jupyterlab" in lines["job"][1]
    assert lines["paths.base"][0] == "holds"
    eventually(lambda: nothing_left(laptop), what="nothing is left")


@local
def test_an_interrupted_check_leaves_nothing(laptop: Laptop) -> None:
    running = laptop.spawn("site", "check", "local")
    eventually(
        lambda: any(one["job"] for one in laptop.sessions().values()), timeout=60, what="its job"
    )
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=90)
    assert running.returncode == 130, errors
    eventually(lambda: nothing_left(laptop), what="nothing is left")


@local
def test_the_report_shows_no_secret_and_no_name(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCLAUNCH_TEST_SECRET", SECRET)
    book = Book(laptop.home / "state" / "sessions")
    one = dataclasses.replace(
        record(name="s"),
        submitting=1.0,
        trouble=f"GET /api?token={SECRET} by {getpass.getuser()} at {Path.home()}/x failed",
    )
    book.create(one)
    book.keep_secrets(one.name, one.nonce, b"-----BEGIN CERTIFICATE-----", SECRET)
    (laptop.home / "config").mkdir()
    (laptop.home / "config" / "user.toml").write_text('[local]\naccount = "my-account"\n')
    text = laptop.run("doctor", "local")
    document = laptop.run("doctor", "local", "--no-job", "--json")
    book.remove(one.name, one.nonce)
    for said in (text, document):
        assert said.returncode == 1, said.stderr
        for hidden in (SECRET, f"{getpass.getuser()} at", str(Path.home()) + "/", "my-account"):
            assert hidden not in said.stdout
        assert "cannot be reached" in said.stdout
    assert "it ran on <laptop> and answered here" in text.stdout
    (line,) = [one for one in json.loads(document.stdout)["lines"] if one["result"] == "problem"]
    assert line["next"] == "`hpclaunch attach s` connects again"


# The container cluster


def drifted(tmp_path: Path) -> Path:
    """The cluster's profile as it may have been written long ago, for another cluster."""
    text = PROFILE.read_text()
    for old, new in (
        ('name = "docker"', 'name = "drifted"\naccount = "nobody"  # of the institute'),
        ('"../run/ssh_config"', f'"{PROFILE.parents[1] / "run" / "ssh_config"}"'),
        ('max_walltime = "1-00:00:00"', 'max_walltime = "2-00:00:00"  # as the docs say'),
        ('memory_per_node = "8000 MB"', 'memory_per_node = "16 GB"'),
        ('name = "short"', 'name = "gone"'),
        ("[dask]", '[network]\ninterface = "ib7"\n\n[dask]'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / "drifted.toml"
    file.write_text(text)
    return file


@on_cluster
def test_a_profile_that_has_drifted_is_told_line_by_line_and_repaired(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    profile = drifted(tmp_path)
    done = laptop.run("site", "check", str(profile), "--fix")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = [line.split(None, 1) for line in done.stdout.splitlines() if " differs (" in line]
    assert dict(told) == {
        "account": "differs (found you may not charge nobody; yours are: proj1)",
        "queues.compute.max_walltime": "differs (found 24:00:00)",
        "queues.compute.memory_per_node": "differs (found 8000 MiB)",
        "queues.gone": "differs (found no queue gone; there are compute, short, closed, drained, "
        "proj2only)",
        "network.interface": told[-1][1],
    }
    assert "no ib7 with an address on c" in told[-1][1]
    assert "could not tell" not in done.stdout
    assert '+max_walltime = "24:00:00"  # as the docs say' in done.stderr
    assert "# of the institute" in profile.read_text()
    assert 'interface = "ib7"' in (tmp_path / "drifted.toml.bak").read_text()
    lines = checked(laptop, str(profile))
    assert {result for result, _ in lines.values()} == {"holds"}
    assert laptop.sessions() == {}
    eventually(lambda: not cluster.jobs(), what="no job is left")
    assert not [one for one in cluster.files() if "/check-" in one]


@on_cluster
def test_the_profile_of_the_cluster_holds(laptop: Laptop, cluster: Cluster) -> None:
    lines = checked(laptop, str(PROFILE), "--no-job", "--set", "login.transport=paramiko")
    job = {"job", "paths.base", "dask.submit"}
    assert {key for key, (result, _) in lines.items() if result != "holds"} == job
    assert {lines[key] for key in job} == {("unknown", "no job was run")}


@on_cluster
def test_a_profile_that_was_just_written_holds(laptop: Laptop, cluster: Cluster) -> None:
    config = str(PROFILE.parents[1] / "run" / "ssh_config")
    done = laptop.run("site", "init", "hpclaunch-login", "--ssh-config", config, "--name", "new")
    assert done.returncode == 0, done.stderr
    lines = checked(laptop, "new", "--no-job")
    told = [one for one in lines.values() if one != ("unknown", "no job was run")]
    assert {result for result, _ in told} == {"holds"}
    assert "queues.compute.memory_per_node" in lines


@on_cluster
@pytest.mark.long
def test_a_job_that_only_waits_says_nothing_against_the_site(
    laptop: Laptop, cluster: Cluster
) -> None:
    filling = [
        cluster.ssh("sbatch --parsable --exclusive -p compute --wrap 'sleep 120'").strip()
        for _ in range(2)
    ]
    try:
        lines = checked(laptop, str(PROFILE), "--timeout", "8")
    finally:
        cluster.ssh("scancel", *filling)
    assert lines["job"][0] == "unknown"
    assert "is queued (Resources)" in lines["job"][1] or "(Priority)" in lines["job"][1]
    assert lines["paths.base"] == ("unknown", lines["job"][1])
    eventually(lambda: not cluster.jobs(), what="no job is left")


@on_cluster
@pytest.mark.long
def test_the_doctor_reports_on_laptop_login_node_and_job(laptop: Laptop, cluster: Cluster) -> None:
    done = laptop.run("doctor", str(PROFILE), "--json")
    assert done.returncode == 0, done.stdout
    document = json.loads(done.stdout)
    found = {(one["area"], one["key"]): one for one in document["lines"]}
    assert document["site"] == "docker"
    assert "slurm" in found["login node", "scheduler"]["found"]
    assert "can be written" in found["login node", "place"]["found"]
    assert "the clock there is" in found["login node", "clock"]["found"]
    assert found["job", "job"]["result"] == "ok"
    assert "alice" not in done.stdout
    assert str(laptop.home / "state" / "run") in found["laptop", "sharing"]["found"]


@on_cluster
def test_the_doctor_tells_why_there_is_no_way(laptop: Laptop, cluster: Cluster) -> None:
    options = ("--set", "login.identity=/dev/null", "--set", "login.user=nobody")
    done = laptop.run("doctor", str(PROFILE), *options)
    assert done.returncode == 1
    assert "problem  connection" in done.stdout
    assert "next: " in done.stdout
    assert "nobody" not in done.stdout
