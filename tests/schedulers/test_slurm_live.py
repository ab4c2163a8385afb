"""A real SLURM, in containers: it reads what we write, and we read what it says."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpclaunch.errors import SchedulerError
from hpclaunch.schedulers.base import JobSpec, JobState, JobStatus
from hpclaunch.schedulers.slurm import Slurm, never_starts
from hpclaunch.shell import Completed, join
from hpclaunch.units import Memory, Walltime

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SSH_CONFIG = Path(__file__).parents[2] / "docker" / "run" / "ssh_config"
SLURM = Slurm()


def remote(argv: list[str], stdin: str = "", host: str = "hpclaunch-login") -> Completed:
    """Run an argv on the login node, as alice."""
    ran = subprocess.run(
        ["ssh", "-F", SSH_CONFIG, host, join(argv)],
        input=stdin.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Completed.of(argv, ran.returncode, ran.stdout.decode(), ran.stderr.decode())


def wait_until(is_so: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not in {seconds} s; accounting:\n{accounting()}"
        time.sleep(0.5)


def accounting() -> str:
    """What the accounting holds, and how much of it the controller has not delivered yet."""
    held = remote(["sacct", "-X", "-n", "-P", "-S", "now-5minutes", "-o", "JobID,State,Submit"])
    return f"{held.said}\n{remote(['sdiag']).stdout[:800]}"


def status_of(job_id: str) -> JobStatus:
    return SLURM.parse_status(remote(SLURM.status_command([job_id])), [job_id])[job_id]


def history_of(job_id: str) -> JobStatus:
    said = remote(SLURM.history_command([job_id]))
    return SLURM.parse_history(said, [job_id])[job_id]


@pytest.fixture(scope="module")
def folder() -> Iterator[str]:
    """A directory of this test run on the cluster's shared home."""
    if not SSH_CONFIG.exists():
        pytest.skip("the containerised cluster is not up; `make cluster` starts it")
    path = f"/home/alice/slurm-live-{uuid.uuid4().hex[:8]}"
    made = remote(["mkdir", path])
    assert made.exit == 0, made.said
    yield path
    remote(["rm", "-r", path])


@pytest.fixture
def submit(folder: str) -> Iterator[Callable[..., str]]:
    """Submit a small job and return its id; whatever is left is cancelled."""
    ids: list[str] = []

    def submit(
        *extra: str, body: str = "sleep 30", before: tuple[str, ...] = (), **changes: object
    ) -> str:
        fields: dict[str, object] = {
            "name": f"live-{uuid.uuid4().hex}",
            "log": f"{folder}/job.log",
            "walltime": Walltime(120),
            "memory": Memory(32 * 2**20),
            "extra": extra,
        }
        spec = JobSpec(**{**fields, **changes})  # type: ignore[arg-type]
        script = "\n".join(["#!/bin/bash", *SLURM.directives(spec), body, ""])
        command = SLURM.submit_command(spec if before else None)
        ids.append(SLURM.parse_submit(remote([*before, *command], script)))
        return ids[-1]

    yield submit
    for command in SLURM.cancel_commands(ids):
        SLURM.parse_cancel(remote(command))


NAMES = [
    'it\'s a "name" with `x` and $(id)',
    "back\\slash \\' \\\" \\n trailing\\",
    "# no comment",
    "-dash|comma,%j %% %x",
    "ünï ☃\ttab",
]


@pytest.mark.parametrize("name", NAMES)
def test_slurm_reads_a_name_exactly_and_we_find_it_by_it(submit, name):
    name += uuid.uuid4().hex
    job_id = submit("--hold", name=name)
    assert SLURM.parse_find(remote(SLURM.find_command(name)), name) == [job_id]
    assert status_of(job_id).state is JobState.HELD


def test_the_log_is_where_it_was_asked_for(submit, folder):
    log = f"{folder}/100% it's %j.log"
    job_id = submit(body="echo written; echo too >&2", log=log)
    wait_until(lambda: status_of(job_id).state is JobState.DONE)
    assert remote(["cat", log]).stdout == "written\ntoo\n"


def test_the_users_environment_does_not_change_a_planned_job(submit):
    name = f"mine-{uuid.uuid4().hex}"
    theirs = (
        *("env", "SBATCH_JOB_NAME=theirs", "SBATCH_TIMELIMIT=7", "SBATCH_PARTITION=short"),
        *("SBATCH_ARRAY_INX=1-3", "SBATCH_WAIT=1", "SBATCH_OUTPUT=theirs.log"),
    )
    job_id = submit("--hold", name=name, queue="compute", before=theirs)
    assert SLURM.parse_find(remote(SLURM.find_command(name)), name) == [job_id]
    said = remote(["squeue", "-h", "-j", job_id, "-o", "%P|%l|%i"])
    assert said.stdout.strip() == f"compute|2:00|{job_id}"


def test_no_filter_and_no_taste_of_the_user_hides_a_job(submit):
    job_id = submit()
    wait_until(lambda: status_of(job_id).state is JobState.RUNNING)
    theirs = ["SQUEUE_USERS=nobody", "SQUEUE_PARTITION=short", "SQUEUE_FORMAT2=JobID"]
    asked = ["env", *theirs, "SLURM_TIME_FORMAT=relative", *SLURM.status_command([job_id])]
    status = SLURM.parse_status(remote(asked), [job_id])[job_id]
    assert status.state is JobState.RUNNING
    assert status.nodes[0] in ("c1", "c2")
    assert status.ends_at is not None
    there = remote(["date", "+%s"]).stdout
    ends = remote(["date", "-d", status.ends_at.isoformat(), "+%s"]).stdout
    assert 60 < int(ends) - int(there) <= 120


def test_an_exit_code_is_known_from_the_accounting(submit):
    job_id = submit(body="exit 3")
    wait_until(lambda: history_of(job_id).state is JobState.FAILED)
    assert history_of(job_id).exit_code == 3


def test_a_cancelled_job_is_cancelled_and_cancelling_again_is_no_error(submit):
    job_id = submit()
    (command,) = SLURM.cancel_commands([job_id])
    SLURM.parse_cancel(remote(command))
    wait_until(lambda: status_of(job_id).state is JobState.CANCELLED)
    SLURM.parse_cancel(remote(command))
    wait_until(lambda: history_of(job_id).word.startswith("CANCELLED by "))


def test_another_user_cannot_cancel_the_job(submit):
    job_id = submit("--hold")
    (command,) = SLURM.cancel_commands([job_id])
    with pytest.raises(SchedulerError, match="did not cancel") as caught:
        SLURM.parse_cancel(remote(command, host="hpclaunch-login-mallory"))
    assert "Access/permission denied" in str(caught.value.said)
    assert status_of(job_id).state is JobState.HELD


def test_tasks_of_an_array_have_a_status_each(submit):
    base = submit("--hold", "--array=1-3%2")
    tasks = [f"{base}_{index}" for index in (1, 2, 3)]
    (command,) = SLURM.cancel_commands([tasks[1]])
    SLURM.parse_cancel(remote(command))
    wait_until(lambda: status_of(tasks[1]).state is JobState.LOST)  # no record of it is kept
    said = remote(SLURM.status_command([*tasks, f"{base}_9"]))
    statuses = SLURM.parse_status(said, [*tasks, f"{base}_9"])
    states = [status.state for status in statuses.values()]
    assert states == [JobState.HELD, JobState.LOST, JobState.HELD, JobState.LOST]
    # The controller reports new jobs every 5 s, one that it has not looked at yet without a reason,
    # and that stays so. A change is reported at once, with the reason.
    renamed = remote(["scontrol", "update", f"JobId={base}", f"JobName=live-{uuid.uuid4().hex}"])
    assert renamed.exit == 0, renamed.said
    wait_until(lambda: history_of(tasks[2]).state is JobState.HELD, seconds=150)


def test_a_job_that_asks_for_more_time_than_its_partition_has_never_starts(submit):
    job_id = submit(queue="short", walltime=Walltime(24 * 3600))
    # Until the first scheduling cycle 22.05 says PartitionConfig, which is never good either.
    seen: list[JobStatus] = []
    wait_until(
        lambda: seen.append(status_of(job_id)) or seen[-1].reason == "PartitionTimeLimit",
    )
    assert {status.reason for status in seen} <= {"", "PartitionConfig", "PartitionTimeLimit"}
    assert "walltime" in str(never_starts(seen[-1]))


def test_an_id_that_never_was_is_lost():
    assert status_of("999999").state is JobState.LOST
    assert history_of("999999").state is JobState.LOST
