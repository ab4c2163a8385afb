"""The worker jobs' arguments and scripts: pure."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.clusters import workerjob
from hpclaunch.clusters.submitter import outside_of_job
from hpclaunch.clusters.workerjob import job_spec, memory_limit, walltime_left
from hpclaunch.node.daskconfig import Place, expandable, prologue
from hpclaunch.node.spec import Session, WorkerJobs
from hpclaunch.schedulers.base import Scheduler
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.shell import quote
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


def script(
    one: Session, *names: str, walltime: int = 1800, scheduler: Scheduler | None = None
) -> str:
    spec = replace(job_spec(one, Walltime(walltime)), copies=len(names))
    return workerjob.script(one, PLACE, "tls://10.1.2.3:4567", scheduler or Slurm(), spec, names)


def test_script_of_a_worker_job() -> None:
    golden = Path(__file__).with_name("worker_job.sh")
    assert script(session(processes=2), "worker0", "worker7") == golden.read_text()


@pytest.mark.parametrize(
    ("scheduler", "extra"),
    [
        (Pbs(chunk=("model=mil_ait",)), "-l filesystems=home"),
        (Lsf(memory_unit="GB", memory_per="task"), "-R select[type==any]"),
    ],
)
def test_script_of_a_worker_job_elsewhere(
    scheduler: Scheduler, extra: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    golden = Path(__file__).with_name(f"worker_job_{scheduler.kind}.sh")
    one = session(processes=2, qos=None, extra_directives=(extra,))
    text = script(one, "worker7", scheduler=scheduler)
    if request.config.getoption("--golden-update"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert findings([golden]) == []


def test_script_passes_shellcheck(tmp_path: Path) -> None:
    path = tmp_path / "worker.sh"
    path.write_text(script(session(), "worker0"))
    assert findings([path]) == []


@given(st.text(st.characters(exclude_characters="\0\r\n$", codec="utf-8"), min_size=1))
def test_any_path_of_the_environment_is_one_word(name: str) -> None:
    place = Place("10.1.2.3", f"/{name}/python", f"/{name}/lib", "/tmp/x")
    lines = prologue(session(), place.pythonpath)
    exports = [line for line in lines if line.startswith("export PYTHONPATH")]
    shown = run([*exports, 'printf "%s\\n" "$PYTHONPATH"', f"printf '%s\\n' {quote(place.python)}"])
    assert shown == f"/{name}/lib\n/{name}/python\n"


@pytest.mark.parametrize("submit", ["ssh", "laptop"])
def test_workers_submitted_from_elsewhere_start_where_notebooks_are(submit: str) -> None:
    """The scheduler would start them where its command ran."""
    assert "\ncd --" not in script(session(), "worker0")
    there = f"cd -- {quote(session().work_dir)} || exit"
    assert there in script(session(submit=submit), "worker0").splitlines()


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


@pytest.mark.parametrize(
    ("walltime", "end", "least", "most"),
    [(120, None, 75, 90), (3600, None, 3330, 3420), (120, 600, 555, 570), (120, 10, 1, 1)],
)
def test_workers_retire_before_the_end_that_their_job_has(
    walltime: int, end: int | None, least: int, most: int
) -> None:
    """Each time a little earlier or later, within half the time kept for handing over."""
    lines = script(session(), "worker0", walltime=walltime).splitlines()
    chosen = [line for line in lines if line.startswith(("now=", "ends=", "lifetime=", "((life"))]
    told = {} if end is None else {"SLURM_JOB_END_TIME": str(int(time.time()) + end)}
    seen = {int(run([*chosen, 'echo "$lifetime"'], **told)) for _ in range(12)}
    assert least - 1 <= min(seen) and max(seen) <= most + 1
    assert len(seen) > 1 or least == most
    assert '--lifetime "$lifetime s"' in lines[-1]


def test_jobs_too_short_to_hand_over_anything_have_no_lifetime() -> None:
    assert "lifetime" not in script(session(), "worker0", walltime=60)


def test_each_copy_knows_its_name(tmp_path: Path) -> None:
    """The scheduler numbers the copies; a single job has no number."""
    for names, told, name in (
        (("worker3", "worker9"), {"SLURM_ARRAY_TASK_ID": "1"}, "worker9"),
        (("worker3",), {}, "worker3"),
    ):
        lines = script(session(local_directory=None, setup=()), *names).splitlines()
        lines[-1] = lines[-1].replace(quote(PLACE.python), "printf '%s\\n'")
        shown = run(lines, TMPDIR=str(tmp_path), **told).split()
        assert shown[shown.index("--name") + 1] == name
    assert list(tmp_path.iterdir()) == [], "its scratch is gone again"


@given(st.integers(100 * 10**6, 10**12), st.integers(1, 64))
def test_workers_are_stopped_before_the_scheduler_kills_their_job(
    memory: int, processes: int
) -> None:
    jobs = session(memory=memory, processes=processes).jobs
    assert jobs is not None
    asked = job_spec(session(memory=memory, processes=processes), Walltime(60)).memory
    assert asked is not None and asked.in_mib() * 2**20 >= memory * processes
    kept = asked.bytes - memory_limit(jobs) * processes
    assert kept >= min(10**8 - processes, asked.bytes // 5 - processes)


def test_job_is_named_so_that_stop_finds_it() -> None:
    assert job_spec(session(), Walltime(60)).name == "hpclaunch-demo-0123456789ab-w"
    unnamed = session(job_name=None)
    assert job_spec(unnamed, Walltime(60)).name == "hpclaunch-demo-0123456789ab-w"


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


@pytest.mark.parametrize(
    ("inside", "kept"),
    [
        (
            {
                "PBS_JOBID": "7.pbs-login",
                "PBS_NODEFILE": "/var/spool/pbs/aux/7.pbs-login",
                "PBS_O_WORKDIR": "/home/ann",
                "PBS_SERVER": "pbs-login",
                "TMPDIR": "/var/tmp/pbs.7.pbs-login",
            },
            {"PBS_SERVER": "pbs-login"},
        ),
        (
            {
                "LSB_JOBID": "4711",
                "LSB_HOSTS": "c1 c1",
                "LS_SUBCWD": "/home/ann",
                "BSUB_QUIET": "1",
                "LSF_ENVDIR": "/opt/lsf/conf",
                "LSF_SERVERDIR": "/opt/lsf/etc",
                "TMPDIR": "/tmp/4711.tmpdir",
            },
            {"LSF_ENVDIR": "/opt/lsf/conf", "LSF_SERVERDIR": "/opt/lsf/etc"},
        ),
    ],
)
def test_what_other_schedulers_put_into_a_job_does_not_either(
    inside: dict[str, str], kept: dict[str, str]
) -> None:
    assert outside_of_job({**inside, "HOME": "/home/ann"}) == {**kept, "HOME": "/home/ann"}
