"""qsub's answers: an id with its server, a refusal with its next step, or nobody knows."""

from __future__ import annotations

import re

import pytest

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.shell import Completed
from tests.schedulers.replay import completed, the_record
from tests.schedulers.replay_pbs import RELEASES
from tests.transcripts.reader import records

pytestmark = [pytest.mark.pure]
on_both_releases = pytest.mark.parametrize("release", RELEASES)


def answer(stdout: str = "", stderr: str = "", exit: int = 0) -> Completed:
    return Completed.of(["qsub"], exit, stdout, stderr)


@on_both_releases
def test_every_recorded_submission_gives_the_id_that_qsub_printed(release):
    seen = 0
    for topic in ("10_qsub_stdin", "13_multinode", "20_state_R", "30_failed"):
        for record in records(release, topic):
            if re.fullmatch(r"cd ~/w && qsub [^|;]*", record.command + " ") and record.exit == 0:
                seen += 1
                job = Pbs().parse_submit(completed(record))
                assert f"{job}\n" == record.stdout
                assert re.fullmatch(r"\d+\.pbs-login", job)
    assert seen > 10


@pytest.mark.parametrize(
    ("stdout", "job_id"),
    [
        ("0.pbs-login\n", "0.pbs-login"),  # a valid first id
        ("4711.desched1\n", "4711.desched1"),
        ("4711.pbs.site.example\n", "4711.pbs.site.example"),
        ("NOTE: 3 hours of maintenance on 2026-12-01\n4711.pbs-login\n", "4711.pbs-login"),
        ("3.5\n12\n4711.pbs-login\nThank you\n", "4711.pbs-login"),
        ("  4711.pbs-login  \r\n", "4711.pbs-login"),
        ("90[].pbs-login\n", "90[].pbs-login"),
    ],
)
def test_the_id_is_the_last_line_that_is_nothing_but_an_id(stdout, job_id):
    assert Pbs().parse_submit(answer(stdout)) == job_id


def test_torque_may_leave_its_server_out():
    assert Pbs(dialect="torque").parse_submit(answer("4711\n")) == "4711"


@pytest.mark.parametrize("stdout", ["", "NOTE: 3 hours of maintenance\n", "12\n", "3.5\n"])
def test_chatter_without_an_id_is_no_id_and_no_refusal(stdout):
    with pytest.raises(SchedulerError) as caught:
        Pbs().parse_submit(answer(stdout))
    assert not isinstance(caught.value, SubmitError), "the job may be in the queue"
    assert "qstat" in str(caught.value.hint)


def test_a_lost_answer_is_no_refusal():
    with pytest.raises(SchedulerError) as caught:
        Pbs().parse_submit(answer(stderr="qsub: Premature end of message", exit=1))
    assert not isinstance(caught.value, SubmitError)


# Fragments of the recorded command, of PBS's words and of the hint.
REFUSALS = [
    ("-q nosuch", "Unknown queue", "qstat -Q"),
    ("-q disabled", "Queue is not enabled", "takes no jobs now"),
    ("-q bobonly", "Unauthorized Request", "may not use this queue"),
    ("-q short -l walltime=01:00:00", "violates queue and/or server resource limits", "qstat -Qf"),
    ("-l walltime=abc", "Illegal attribute or resource value", "HH:MM:SS"),
    ("-l select=1:nosuch=1", "Unknown resource: nosuch", "does not have"),
    ("-l select=1:ncpus=1 -l ncpus=2", "cannot be used with", "exclude each other"),
    ("-l select=1 -l nodes=2", "Cannot be used with select", "exclude each other"),
    ("-W group_list=nosuch", "Bad GID for job execution", "id -Gn"),
    ("-u bob", "Bad UID for job execution", "this user"),
]


@on_both_releases
@pytest.mark.parametrize(("options", "said", "hint"), REFUSALS)
def test_a_refusal_says_pbs_words_and_the_next_step(release, options, said, hint):
    (record,) = [
        one for one in records(release, "40_errors") if one.command == f"cd ~/w && qsub {options}"
    ]
    with pytest.raises(SubmitError) as caught:
        Pbs().parse_submit(completed(record))
    assert said in str(caught.value.said)
    assert hint in str(caught.value.hint)


@on_both_releases
def test_every_recorded_submission_is_an_id_or_a_refusal(release):
    for record in records(release, "40_errors"):
        if not record.command.startswith("cd ~/w && qsub"):
            continue
        if record.exit == 0:
            assert Pbs().parse_submit(completed(record)) == record.stdout.strip()
        else:
            with pytest.raises(SubmitError) as caught:
                Pbs().parse_submit(completed(record))
            assert caught.value.said == record.stderr.strip()


@on_both_releases
def test_a_request_that_can_never_run_is_accepted(release):
    """Only the comment of the job tells; see the test of `never_starts`."""
    record = the_record(release, "40_errors", "qsub -l select=1:mem=100gb")
    assert Pbs().parse_submit(completed(record)).endswith(".pbs-login")


@on_both_releases
def test_a_server_that_is_down_took_no_job(release):
    with pytest.raises(SubmitError) as caught:
        Pbs().parse_submit(completed(the_record(release, "61_server_down", "&& qsub")))
    assert "Connection refused" in str(caught.value.said)
    assert "try again" in str(caught.value.hint)


def test_commands_that_are_not_there_are_a_matter_of_the_path():
    with pytest.raises(SubmitError) as caught:
        Pbs().parse_submit(answer(stderr="env: 'qsub': No such file or directory", exit=127))
    assert "prologue" in str(caught.value.hint)


def test_every_job_is_a_submission_of_its_own():
    """PBS takes no array that must not be run twice."""
    assert Pbs().copies_command() is None
    assert Pbs().parse_copies(answer("anything")) == 1
    assert Pbs().ids_of_copies("7.pbs-login", 1) == ["7.pbs-login"]
