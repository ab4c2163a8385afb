"""bsub's answers: an id, a refusal with its next step, or nobody knows."""

from __future__ import annotations

import re

import pytest

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.shell import Completed
from tests.schedulers.replay import completed, the_record
from tests.transcripts.reader import records

pytestmark = [pytest.mark.pure]

RELEASE = "volclava-2.2.0-beta"


def answer(stdout: str = "", stderr: str = "", exit: int = 0) -> Completed:
    return Completed.of(["bsub"], exit, stdout, stderr)


def test_every_recorded_submission_gives_its_id():
    seen = 0
    for topic in ("10_bsub_stdin", "20_state_RUN", "21_state_PEND", "27_state_EXIT"):
        for record in records(RELEASE, topic):
            if re.match(r"cd ~/w && bsub( -o|$| <)", record.command) and record.exit == 0:
                seen += 1
                job = Lsf().parse_submit(completed(record))
                assert f"Job <{job}> is submitted to " in record.stdout
    assert seen > 10


@pytest.mark.parametrize(
    "stdout",
    [
        "Job <4711> is submitted to default queue <normal>.\n",
        "Job <4711> is submitted to queue <short>.\n",
        "NOTE: 3 hours of maintenance\nJob <4711> is submitted to queue <short>.\r\nThank you\n",
        "Job <12> of yours failed\nJob <4711> is submitted to queue <short>.\n",
    ],
)
def test_the_id_is_that_of_the_job_that_is_submitted(stdout):
    assert Lsf().parse_submit(answer(stdout)) == "4711"


def test_an_answer_that_came_late_is_an_answer():
    record = the_record(RELEASE, "60_cleaned", "&& bsub")
    assert "still trying" in record.stderr
    assert Lsf().parse_submit(completed(record)) == "113"


@pytest.mark.parametrize("stdout", ["", "NOTE: 3 hours of maintenance\n", "4711\n"])
def test_chatter_without_an_id_is_no_id_and_no_refusal(stdout):
    with pytest.raises(SchedulerError) as caught:
        Lsf().parse_submit(answer(stdout))
    assert not isinstance(caught.value, SubmitError), "the job may be in the queue"
    assert "bjobs" in str(caught.value.hint)


def test_a_master_that_did_not_answer_in_time_may_have_taken_the_job():
    said = answer(stderr="batch system daemon not responding ... still trying", exit=124)
    with pytest.raises(SchedulerError) as caught:
        Lsf().parse_submit(said)
    assert not isinstance(caught.value, SubmitError)
    assert "not responding" in str(caught.value.said)


# Fragments of the recorded command, of LSF's words and of the hint.
REFUSALS = [
    ("bsub -q nosuch", "No such queue", "--queue"),
    ("bsub -q bobonly", "User cannot use the queue", "bqueues -u"),
    ("bsub -q short -W 60", "RUNLIMIT: Cannot exceed queue's hard limit", "--walltime"),
    ("bsub -W 999999", "Bad CPU limit specification", "--walltime"),
    ("bsub -q narrow -n 4", "Too many processors requested", "fewer nodes or cores"),
    ('bsub -R "rusage[mem=1GB]"', "Bad resource requirement syntax", "memory unit"),
    ("bsub -G nosuchgroup", "illegal option -- G", "not this bsub's"),
]


@pytest.mark.parametrize(("command", "said", "hint"), REFUSALS)
def test_a_refusal_says_lsfs_words_and_the_next_step(command, said, hint):
    (record,) = [
        one for one in records(RELEASE, "40_errors") if one.command == f"cd ~/w && {command}"
    ]
    with pytest.raises(SubmitError) as caught:
        Lsf().parse_submit(completed(record))
    assert said in str(caught.value.said)
    assert hint in str(caught.value.hint)


def test_every_recorded_submission_is_an_id_or_a_refusal():
    seen = set()
    for record in records(RELEASE, "40_errors"):
        if not record.command.startswith("cd ~/w && bsub"):
            continue
        seen.add(record.exit)
        if record.exit == 0:
            assert f"Job <{Lsf().parse_submit(completed(record))}> is" in record.stdout
        else:
            with pytest.raises(SubmitError) as caught:
                Lsf().parse_submit(completed(record))
            assert caught.value.said == record.stderr.strip()
    assert seen == {0, 255}


def test_settings_that_are_not_found_are_a_matter_of_the_prologue():
    words = "lsb_init: Failed in an LSF library call: Unable to open file lsf.conf"
    with pytest.raises(SubmitError) as caught:
        Lsf().parse_submit(answer(stderr=words, exit=255))
    assert "profile.lsf" in str(caught.value.hint)


def test_every_job_is_a_submission_of_its_own():
    assert Lsf().copies_command() is None
    assert Lsf().parse_copies(answer("anything")) == 1
    assert Lsf().ids_of_copies("7", 1) == ["7"]
