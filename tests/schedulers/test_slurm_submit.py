"""sbatch's answers: an id, a refusal with its next step, or nobody knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.shell import Completed
from tests.schedulers.replay import RELEASES, completed, the_record
from tests.transcripts.reader import records

pytestmark = [pytest.mark.pure]
on_all_releases = pytest.mark.parametrize("release", RELEASES)


def answer(stdout: str = "", stderr: str = "", exit: int = 0) -> Completed:
    return Completed.of(["sbatch", "--parsable"], exit, stdout, stderr)


@on_all_releases
def test_every_recorded_submission_gives_the_id_it_was_given(release):
    accepted = [r for r in records(release, "10_sbatch") + records(release, "20_state_R")
                if r.command.startswith("cd ~/w && sbatch")]  # fmt: skip
    assert [Slurm().parse_submit(completed(record)) for record in accepted] == ["1", "2", "4"]


@pytest.mark.parametrize(
    ("stdout", "job_id"),
    [
        ("4711\n", "4711"),
        ("4711;c5\n", "4711"),
        ("Submitted batch job 4711\n", "4711"),
        ("Submitted batch job 4711 on cluster c5\n", "4711"),
        ("NOTE: 3 hours of maintenance on 2026-12-01\n4711\n", "4711"),
        ("3 hours left in project\n4711\nThank you for using c5\n", "4711"),
        ("12\n4711\n", "4711"),
        ("  4711  \r\n", "4711"),
    ],
)
def test_the_id_is_the_last_line_that_is_nothing_but_an_id(stdout, job_id):
    assert Slurm().parse_submit(answer(stdout)) == job_id


@pytest.mark.parametrize("stdout", ["", "NOTE: 3 hours of maintenance\n", "job 4711 accepted\n"])
def test_chatter_without_an_id_is_no_id_and_no_refusal(stdout):
    with pytest.raises(SchedulerError) as caught:
        Slurm().parse_submit(answer(stdout))
    assert not isinstance(caught.value, SubmitError), "the job may be in the queue"
    assert "squeue" in str(caught.value.hint)


@pytest.mark.parametrize(
    "stderr",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller "
        "(receive failure)",
    ],
)
def test_a_lost_answer_is_no_refusal(stderr):
    """The controller may have taken the job before the connection broke."""
    with pytest.raises(SchedulerError) as caught:
        Slurm().parse_submit(answer(stderr=stderr, exit=1))
    assert not isinstance(caught.value, SubmitError)
    assert caught.value.said == stderr


# Fragments of the recorded command, of Slurm's words and of the hint.
REFUSALS = [
    ("-p nosuch", "Invalid partition name specified", "sinfo"),
    ("-A nosuch", "Invalid account or account/partition combination", "--account"),
    ("-A proj2", "Invalid account or account/partition combination", "sacctmgr show assoc"),
    ("-q nosuch", "Invalid qos specification", "sacctmgr show assoc"),
    ("-t abc", "Invalid --time specification", "--walltime"),
    ("-p drained", "Required partition not available", "sinfo"),
    ("--mem=100G", "Memory specification can not be satisfied", "less"),
    ("--gres=gpu:1", "Invalid generic resource (gres) specification", "GPUs"),
    ("--gpus=1", "Invalid generic resource (gres) specification", "GPUs"),
    ("-C nosuchfeature", "Invalid feature specification", "--constraint"),
    ("-w nosuchnode", "Invalid node name specified", "sinfo -N"),
    ("--reservation=nosuch", "Requested reservation is invalid", "scontrol show reservation"),
    ("--licenses=nosuch:1", "Invalid license specification", "scontrol show licenses"),
    ("--cluster=nosuch", "No cluster 'nosuch' known by database", "cluster"),
    ("--nosuchoption", "unrecognized option '--nosuchoption'", "option"),
]


@on_all_releases
@pytest.mark.parametrize(("command", "said", "hint"), REFUSALS)
def test_a_refusal_keeps_slurms_words_and_names_the_next_step(release, command, said, hint):
    with pytest.raises(SubmitError) as caught:
        Slurm().parse_submit(completed(the_record(release, "40_errors", f" {command} ")))
    assert said in str(caught.value.said)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("option", ["-N 99", "-n 999", "-c 99", "--ntasks-per-node=9"])
def test_only_24_11_refuses_more_than_the_cluster_has(option):
    said = "Requested node configuration is not available"
    for release in RELEASES:
        record = completed(next(r for r in records(release, "40_errors")
                                if f" {option} " in r.command))  # fmt: skip
        if release == "slurm-24.11":
            with pytest.raises(SubmitError) as caught:
                Slurm().parse_submit(record)
            assert said in str(caught.value.said) and "sinfo" in str(caught.value.hint)
        else:
            assert Slurm().parse_submit(record).isdigit(), "it pends for ever instead"


@on_all_releases
def test_every_recorded_submission_is_an_id_or_a_refusal(release):
    for record in records(release, "40_errors"):
        if "sbatch" not in record.command.split("&&")[-1]:
            continue
        if record.exit == 0:
            assert Slurm().parse_submit(completed(record)) == record.stdout.strip()
        else:
            with pytest.raises(SubmitError) as caught:
                Slurm().parse_submit(completed(record))
            assert caught.value.said == record.stderr.strip()


@on_all_releases
def test_a_controller_that_is_down_took_no_job(release):
    with pytest.raises(SubmitError) as caught:
        Slurm().parse_submit(completed(the_record(release, "62_ctld_down", "sbatch")))
    assert "Unable to contact slurm controller" in str(caught.value.said)
    assert "try again" in str(caught.value.hint)


@on_all_releases
def test_submission_works_while_the_accounting_is_down(release):
    record = the_record(release, "61_dbd_down", "sbatch")
    assert Slurm().parse_submit(completed(record)) == record.stdout.strip()


def test_a_text_that_nobody_knows_gets_no_special_hint():
    with pytest.raises(SubmitError) as caught:
        Slurm().parse_submit(answer(stderr="sbatch: error: moon in the wrong phase", exit=1))
    assert caught.value.hint == SubmitError.usual_hint
    assert caught.value.said == "sbatch: error: moon in the wrong phase"


@given(stdout=st.text(), stderr=st.text(), exit=st.integers(0, 255))
def test_any_answer_is_an_id_or_a_scheduler_error(stdout, stderr, exit):
    try:
        job_id = Slurm().parse_submit(answer(stdout, stderr, exit))
    except SchedulerError:
        return
    assert exit == 0 and job_id.isascii() and job_id.isdigit()


@pytest.mark.parametrize(
    ("stdout", "exit", "most"),
    [
        ("AccountingStorageTRES = cpu\nMaxArraySize            = 1001\nMaxJobCount = 9\n", 0, 1001),
        ("MaxArraySize            = 0\n", 0, 1),
        ("MaxArrayTasks = 7\n", 0, 1),
        ("MaxArraySize            = 1001\n", 1, 1),
        ("", 0, 1),
    ],
)
def test_arrays_are_as_large_as_slurms_configuration_says(stdout, exit, most):
    assert Slurm().parse_copies(Completed.of(["scontrol"], exit, stdout)) == most


def test_each_task_of_an_array_has_an_id_of_its_own():
    assert Slurm().ids_of_copies("7", 3) == ["7_0", "7_1", "7_2"]
    assert Slurm().ids_of_copies("7", 1) == ["7"]
