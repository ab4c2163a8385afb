"""Where a scheduler knows by the exit status alone what it ended a job for, the status tells it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hpclaunch.schedulers.base import JobState
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.script import render_session
from hpclaunch.shell import Completed
from tests.pure.plans import Job, fake_interpreter, job_in, plan_of, with_environment

pytestmark = pytest.mark.pure

# An agent that tidies up on SIGTERM, and would die of the other signals. It takes its time, as a
# real one does: bash may lose the exit status of a child that ends while a signal ends the wait.
AGENT = """#!/bin/bash
trap 'trap "" TERM; sleep 0.3; echo tidy >>"$RECORD"; exit 0' TERM
echo up >>"$RECORD"
while :; do sleep 0.05; done
"""


def run(job: Job, what: signal.Signals) -> subprocess.CompletedProcess[bytes]:
    """Run LSF's script of a session, and send a signal to all of its processes, as LSF does."""
    plan = plan_of(scheduler={"kind": "lsf"})
    python = fake_interpreter(job.record.with_name("python"), AGENT)
    lsf = Lsf()
    text = render_session(
        with_environment(plan, python), lsf, session_dir=str(job.session), lib_dir=str(job.lib)
    )
    script = job.record.with_name("job.sh")
    script.write_text(text)
    process = subprocess.Popen(
        ["bash", script], env=job.environment(LSB_JOBID="7"), start_new_session=True
    )
    deadline = time.monotonic() + 20
    # The script's last trap is that of USR2, which is ignored until then.
    while not (job.record.exists() and catches(process.pid, signal.SIGUSR2)):
        assert time.monotonic() < deadline, job.session.joinpath("job.log").read_text()
        time.sleep(0.02)
    subprocess.run(["kill", f"-{what.value}", "--", f"-{process.pid}"], check=True)
    return subprocess.CompletedProcess(["bash"], process.wait(20))


def catches(pid: int, what: signal.Signals) -> bool:
    """Whether a process has a handler for the signal."""
    told = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in told.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (what.value - 1) & 1)


def state_of(code: int) -> JobState:
    """What LSF, and so we, make of an exit code."""
    text = (
        "\nJob <7>, User <u>, Project <p>, Status <EXIT>, Queue <q>, Command <x>\n"
        "Sun Nov 22 11:19:11: Started on <c1>, Execution Home </home/u>;\n"
        f"Sun Nov 22 11:20:11: Exited with exit code {code}. The CPU time used is 0.1 seconds.\n"
    )
    return Lsf().parse_status(Completed.of(["bjobs"], 0, text), ["7"])["7"].state


@pytest.mark.parametrize(
    ("what", "code", "state"),
    [
        (signal.SIGUSR2, 140, JobState.TIMEOUT),
        (signal.SIGINT, 130, JobState.CANCELLED),
    ],
)
def test_the_agent_tidies_up_and_lsf_knows_what_it_was(
    tmp_path: Path, what: signal.Signals, code: int, state: JobState
) -> None:
    job = job_in(tmp_path)
    assert run(job, what).returncode == code
    assert state_of(code) is state
    assert job.record.read_text().split() == ["up", "tidy"], "it was asked, and not killed"
    assert json.loads((job.session / "exit.json").read_text())["exit"] == 0


def test_an_end_that_nobody_asked_for_has_the_agents_own_status(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    assert run(job, signal.SIGTERM).returncode == 0
