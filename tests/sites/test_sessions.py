"""Whole sessions on sites of every scheduler: the same tests on all, over real SSH.

SLURM, PBS and LSF are made up by ``hpclaunch demo``; a real SLURM is in the container cluster, and
``pytest --site=NAME`` runs all of this on a site that a developer has.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from hpclaunch.demo.modes import REFUSAL, WAITING
from tests.sites.place import There
from tests.support.launch import eventually

pytestmark = pytest.mark.timeout(300)

NEVER = {
    "slurm": "BadConstraints",
    "pbs": "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 8 T: 8)",
    "lsf": "Dependency condition invalid or never satisfied: 1 host",
}
"""Why a job can never start, in the words of each."""

WRONG = {
    "slurm": "--dependency=afterok:hpclaunch",
    "pbs": "-p 5000",
    "lsf": "-w 'done(hpclaunch-none)'",
}
"""An option that each refuses everywhere."""


def test_workers_compute_come_and_go_and_a_stop_leaves_nothing(there: There) -> None:
    document = there.start("--workers", "1")
    assert document["job"]["scheduler"] == there.kind
    there.compute(document, 1)
    worker_jobs = there.record.worker_job_name
    assert there.jobs(worker_jobs), "workers are jobs of their own"
    assert there.laptop.run("scale", there.name, "2").returncode == 0
    there.compute(document, 2)
    assert there.laptop.run("scale", there.name, "0").returncode == 0
    eventually(lambda: there.workers() == 0, timeout=60, what="all workers leave")
    eventually(lambda: not there.jobs(worker_jobs), timeout=60, what="their jobs end")
    there.stop()
    assert there.state() == "ended"


def test_a_job_that_waits_says_why_and_can_be_stopped(there: There) -> None:
    there.control.hold()
    starting = there.laptop.spawn(
        *("start", there.site, "--name", there.name, "--json", "--detach", "--no-browser")
    )
    waiting = eventually(
        lambda: (one := there.laptop.sessions().get(there.name, {})).get("reason") and one,
        what="its reason",
    )
    assert (waiting["state"], waiting["job"]) == ("queued", there.control.ids(1)[0])
    assert waiting["reason"] == WAITING[there.kind]
    start = None if there.kind == "lsf" else "2026-11-30T10:00:00"
    assert waiting["expected_start"] == start
    assert WAITING[there.kind] in there.why()
    there.stop()
    _, said = starting.communicate(timeout=60)
    assert starting.returncode == 1, said
    assert there.control.cancelled == set(there.control.ids(1))


def test_a_job_that_can_never_start_is_refused_in_the_sites_words(there: There) -> None:
    there.control.hold(NEVER[there.kind])
    done = there.laptop.run("start", there.site, "--no-browser", "--detach", timeout=60)
    assert done.returncode == 1
    assert "can never start" in done.stderr
    assert NEVER[there.kind] in done.stderr
    assert there.control.cancelled == set(there.control.ids(1))


def test_a_job_that_is_refused_is_told_in_the_sites_words(there: There) -> None:
    wish = f'scheduler.directives=["{WRONG[there.kind]}"]'
    if there.fake is not None:
        there.fake.refuse(REFUSAL[there.kind])
    done = there.laptop.run("start", there.site, "--no-browser", "--detach", "--set", wish)
    assert done.returncode == 1
    error, _, said = done.stderr.partition("the site said:\n")
    assert "refused the job" in error
    assert said.splitlines()[0].strip(), done.stderr
    if there.fake is not None:
        assert said.splitlines()[0].strip() == REFUSAL[there.kind]
        assert there.fake.jobs == {}
    assert not [one for one in there.laptop.sessions().values() if one["state"] != "failed"]


def test_a_check_tells_what_differs_and_that_its_job_waits(there: There) -> None:
    there.control.hold()
    profile = Path(there.site).with_name("described.toml")
    profile.write_text(
        Path(there.site).read_text()
        + '[[queues]]\nname = "short"\nmax_walltime = "1:00:00"\ncores_per_node = 4\n'
        + '[[queues]]\nname = "gone"\n'
    )
    done = there.laptop.run("site", "check", str(profile), "--json", "--timeout", "5")
    assert done.returncode == 1, done.stderr
    lines = {one["key"]: (one["result"], one["found"]) for one in json.loads(done.stdout)}
    assert lines["scheduler.kind"][0] == "holds"
    assert lines["queues.short.max_walltime"] == ("differs", "00:10:00")
    assert lines["queues.short.cores_per_node"][0] == "holds"
    assert lines["queues.gone"][0] == "differs"
    assert lines["job"][0] == "unknown"
    assert WAITING[there.kind] in lines["job"][1]
    assert there.control.cancelled == set(there.control.ids(1))


def test_a_session_that_is_cancelled_from_outside_says_so(there: There) -> None:
    """By the exit status alone, where LSF keeps no reason."""
    job = there.start()["job"]["id"]
    there.cancel_from_outside()
    eventually(lambda: there.state() == "failed", timeout=90, what="its end is noticed")
    site = there.loaded.site.name
    assert f"job {job} of session {there.name} on {site} was cancelled from outside" in there.why()
    there.stop()


@pytest.mark.long
def test_a_session_whose_walltime_is_over_says_so(there: There) -> None:
    """PBS tells it; LSF sends USR2 and forgets it, so the exit status of the job must."""
    there.start("--walltime", "0:01:00")
    eventually(lambda: there.state() in ("ended", "failed"), timeout=180, what="its end")
    assert "reached its walltime of 00:01:00" in there.why()
    assert there.state() == "ended"
    there.stop()


@pytest.mark.long
def test_a_batch_job_runs_its_script_and_tells_its_exit_code(there: There, tmp_path: Path) -> None:
    script = tmp_path / "sum.py"
    script.write_text(
        textwrap.dedent("""
            import sys
            from distributed import Client
            client = Client()
            print("sum", sum(client.gather(client.map(abs, range(-9, 0)))))
            sys.exit(3)
        """)
    )
    done = there.laptop.run(
        *("batch", there.site, "--wait", "--name", there.name, str(script)), timeout=there.patience
    )
    without_mpi(there, done.stderr)
    assert done.returncode == 3, done.stderr
    assert "sum 45" in done.stdout
    there.stop()


@pytest.mark.long
def test_a_block_has_its_workers_in_its_own_job(there: There) -> None:
    started = there.laptop.run(
        *("start", there.site, "--name", there.name, "--dask", "mpi", "--workers", "2"),
        *("--json", "--detach", "--no-browser"),
        timeout=there.patience,
    )
    without_mpi(there, started.stderr)
    assert started.returncode == 0, started.stderr
    there.compute(json.loads(started.stdout), 2)
    assert not there.jobs(there.record.worker_job_name), "workers have no jobs of their own"
    there.stop()


def without_mpi(there: There, said: str) -> None:
    """Skip a test whose site has no MPI in the environment of its profile."""
    if there.fake is None and any(f"{cause}:" in said for cause in ("no-mpi", "no-launcher")):
        pytest.skip("the environment of the profile has no MPI that starts")
