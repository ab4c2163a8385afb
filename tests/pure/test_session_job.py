"""What the batch script of a session does when things go wrong: its last word is always written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pure.plans import NONCE, Job, fake_interpreter, job_in, plan_of, with_environment

PLAN = plan_of()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_in(tmp_path)


def test_an_interpreter_that_is_not_there_is_named(job):
    done = job.run(with_environment(PLAN, "/no/such/python"))
    assert done.returncode == 127
    assert job.exit_file() == {"nonce": NONCE, "exit": 127}
    assert "the environment's interpreter /no/such/python is not here" in done.stderr


def test_an_interpreter_is_looked_for_in_path_after_the_setup(job, tmp_path):
    fake_interpreter(tmp_path / "env" / "bin" / "python-of-env")
    line = f"export PATH={tmp_path}/env/bin:$PATH"
    done = job.run(with_environment(PLAN, "python-of-env", setup=[line]))
    assert done.returncode == 3


def test_a_module_that_cannot_be_loaded_ends_the_job(job, tmp_path):
    plan = with_environment(PLAN, fake_interpreter(tmp_path / "python"), modules=["ok", "no such"])
    broken = '() { [ "$2" = ok ] || { echo "module: no $2" >&2; return 1; }; }'
    done = job.run(plan, **{"BASH_FUNC_module%%": broken})
    assert done.returncode == 126
    assert job.exit_file() == {"nonce": NONCE, "exit": 126}
    assert done.stderr.splitlines()[0] == "module: no no such"
    assert "the module no such cannot be loaded here" in done.stderr
    assert job.heard() == []


def test_without_a_module_command_the_job_ends_with_words(job, tmp_path):
    plan = with_environment(PLAN, fake_interpreter(tmp_path / "python"), modules=["gcc"])
    done = job.run(plan, **{"BASH_FUNC_module%%": ""})
    assert done.returncode == job.exit_file()["exit"] == 126
    assert "module: command not found" in done.stderr


@pytest.mark.parametrize("line", ["set -e", "set -u", "set -eu", "cd /", "unset PYTHONPATH"])
def test_a_setup_line_cannot_keep_the_job_from_its_last_word(job, tmp_path, line):
    plan = with_environment(PLAN, fake_interpreter(tmp_path / "python"), setup=[line])
    assert job.run(plan).returncode == 3
    assert job.exit_file() == {"nonce": NONCE, "exit": 3}


def test_setup_lines_run_after_the_modules_and_are_bash(job, tmp_path):
    plan = with_environment(
        PLAN,
        fake_interpreter(tmp_path / "python"),
        modules=["first"],
        setup=['printf "%s\\0" setup "${BASH_VERSION:+bash}" >>"$RECORD"'],
    )
    job.run(plan)
    assert job.heard()[:5] == ["module", "load", "first", "setup", "bash"]


@pytest.mark.parametrize("way", [{"modules": ["first"]}, {"setup": ["module load first"]}])
def test_where_only_login_shells_know_modules_the_job_asks_them(job, tmp_path, way):
    """The profile of the machine is not ours to change: the script is told of another one."""
    profile = tmp_path / "profile"
    profile.write_text('module() { printf "%s\\0" "$@" >>"$RECORD"; }\n')
    plan = with_environment(PLAN, fake_interpreter(tmp_path / "python"), **way)
    script = tmp_path / "job.sh"
    script.write_text(job.script(plan).replace("/etc/profile", str(profile)))
    surroundings = {"PATH": os.defpath, "RECORD": str(job.record)}
    done = subprocess.run(["bash", script], env=surroundings, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    assert job.heard()[:3] == ["load", "first", "python"]


@pytest.mark.parametrize("setup", [[], ["echo module >/dev/null"]])
def test_a_job_without_modules_does_without_the_profile_of_login_shells(job, tmp_path, setup):
    plan = with_environment(PLAN, fake_interpreter(tmp_path / "python"), setup=setup)
    assert "/etc/profile" not in job.script(plan)


def test_the_job_reads_nothing_from_its_standard_input(job, tmp_path):
    """LSF gives a job the rest of the submitted script there."""
    eater = 'read -r line && printf "%s\\0" eaten >>"$RECORD"'
    plan = with_environment(PLAN, fake_interpreter(tmp_path / "python"), setup=[eater])
    script = tmp_path / "job.sh"
    script.write_text(job.script(plan))
    subprocess.run(["bash", script], input="line\n", env=job.environment(), text=True)
    assert job.heard()[0] == "python"


def test_a_directory_that_is_gone_is_no_success(job, tmp_path):
    job.session.rmdir()
    done = job.run(with_environment(PLAN, fake_interpreter(tmp_path / "python")))
    assert done.returncode == 1
    assert job.heard() == []


AGENT = """#!/bin/bash
trap 'sleep 0.3; echo tidied >>"$RECORD"; exit 143' TERM
sleep 0.3 # the job is only told to end when it listens
echo $$ >"$RECORD"
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_kill_reaches_the_agent_and_the_job_waits_for_it(job, tmp_path, number):
    """bash ends its wait at a signal; the agent must have its time all the same."""
    script = tmp_path / "job.sh"
    script.write_text(job.script(with_environment(PLAN, fake_interpreter(tmp_path / "py", AGENT))))
    process = subprocess.Popen(["bash", script], env=job.environment())
    deadline = time.monotonic() + 10
    while not (job.record.exists() and job.record.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "the agent did not start"
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=10) == 143
    assert job.record.read_text().endswith("tidied\n")
    assert job.exit_file() == {"nonce": NONCE, "exit": 143}


def test_the_last_word_is_private_and_whole(job, tmp_path):
    job.run(with_environment(PLAN, fake_interpreter(tmp_path / "python")))
    assert [entry.name for entry in job.session.iterdir()] == ["exit.json"]
    assert (job.session / "exit.json").stat().st_mode & 0o777 == 0o600
