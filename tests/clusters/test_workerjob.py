"""The worker jobs' arguments and scripts: pure."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.clusters.jobqueue import arguments, job_class, job_spec, lifetime, walltime_left
from hpclaunch.clusters.state import Journal
from hpclaunch.clusters.submitter import Submitter, outside_of_job
from hpclaunch.node.daskconfig import Place, expandable
from hpclaunch.node.spec import Session, WorkerJobs
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.units import Walltime
from tests.lint_shell import findings

pytestmark = pytest.mark.pure

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PLACE = Place("10.1.2.3", "/env with blank/bin/python", "/lib/it's", "/tmp/hpclaunch-x")


def session(**jobs: object) -> Session:
    fields = {
        "cores": 4,
        "memory": 8_000_000_000,
        "walltime": 3600,
        "queue": "standard",
        "account": "project1",
        "qos": "high",
        "job_name": "hpclaunch-demo-0123456789ab-w",
        "extra_directives": ("--constraint=cpu",),
        "setup": ("module load 'python/3.11'",),
        "local_directory": "$TMPDIR/dask files",
        **jobs,
    }
    return Session(
        directory="/home/a b/demo-0123456789ab",
        name="demo",
        nonce="0123456789ab",
        scheduler="slurm",
        mode="jobqueue",
        workers=2,
        jobs=WorkerJobs(**fields),  # type: ignore[arg-type]
    )


def script(one: Session) -> str:
    submitter = Submitter(Slurm(), one.worker_job_name, Journal(one), {})
    kind = job_class(one, submitter, lambda: Walltime(1800))
    kept = {
        key: value for key, value in arguments(one, PLACE).items() if key != "scheduler_options"
    }
    return str(kind("tls://10.1.2.3:4567", **{**kept, "name": "worker-0"}).job_script())


def test_script_of_a_worker_job() -> None:
    golden = Path(__file__).with_name("worker_job.sh")
    assert script(session()) == golden.read_text()


def test_script_passes_shellcheck(tmp_path: Path) -> None:
    path = tmp_path / "worker.sh"
    path.write_text(script(session()))
    assert findings([path]) == []


@given(st.text(st.characters(exclude_characters="\0\r\n$", codec="utf-8"), min_size=1))
def test_any_path_of_the_environment_is_one_word(name: str) -> None:
    place = Place("10.1.2.3", f"/{name}/python", f"/{name}/lib", "/tmp/x")
    words = arguments(session(), place)
    line = f"printf '%s\\n' {words['python']}"
    exports = [
        line for line in words["job_script_prologue"] if line.startswith("export PYTHONPATH")
    ]
    shown = run([*exports, 'printf "%s\\n" "$PYTHONPATH"', line])
    assert shown == f"/{name}/lib\n/{name}/python\n"


def run(lines: list[str], **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-eu", "-c", "\n".join(lines)],
        env={"PATH": "/usr/bin:/bin", **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode()


def test_variables_of_a_scratch_directory_are_those_of_the_worker() -> None:
    word = expandable("${SCRATCH}/$USER's $(reboot) `reboot`/x")
    assert (
        run([f"printf %s {word}"], SCRATCH="/a b", USER="ann") == "/a b/ann's $(reboot) `reboot`/x"
    )
    with pytest.raises(subprocess.CalledProcessError):
        run([f"printf %s {word}"], USER="ann")


def test_dashboard_and_comm_of_the_cluster() -> None:
    found = arguments(session(), PLACE)
    assert found["protocol"] == "tls://"
    assert found["scheduler_options"]["host"] == "10.1.2.3"
    assert found["scheduler_options"]["dashboard_address"] == "127.0.0.1:0"


@pytest.mark.parametrize(
    ("wanted", "left", "granted"),
    [
        (3600, None, 3600),
        (3600, timedelta(hours=2), 3600),
        (3600, timedelta(minutes=31, seconds=59), 1800),
        (3600, timedelta(minutes=31), 1800),
        (3600, timedelta(seconds=-5), 60),
        (90, None, 60),
    ],
)
def test_no_worker_outlives_the_session(wanted: int, left: timedelta | None, granted: int) -> None:
    end = None if left is None else NOW + left
    assert walltime_left(wanted, end, NOW) == Walltime(granted)


def test_workers_retire_before_their_job_ends() -> None:
    assert lifetime(Walltime(3600)) == 3540
    assert lifetime(Walltime(240)) is None


def test_job_is_named_so_that_stop_finds_it() -> None:
    assert job_spec(session(), "worker-0", Walltime(60)).name == "hpclaunch-demo-0123456789ab-w"
    unnamed = session(job_name=None)
    assert job_spec(unnamed, "worker-0", Walltime(60)).name == "hpclaunch-demo-0123456789ab-w"


def test_environment_of_the_job_does_not_reach_its_workers() -> None:
    inside = {
        "SLURM_JOB_ID": "4711",
        "SLURM_NTASKS": "1",
        "SLURMD_NODENAME": "c1",
        "SBATCH_ACCOUNT": "other",
        "SLURM_CONF": "/etc/slurm/slurm.conf",
        "TMPDIR": "/scratch/job.4711",
        "HOME": "/home/ann",
    }
    assert outside_of_job(inside) == {"SLURM_CONF": "/etc/slurm/slurm.conf", "HOME": "/home/ann"}
    assert outside_of_job({**inside, "TMPDIR": "/scratch"})["TMPDIR"] == "/scratch"
