"""squeue's answers, of three releases."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.schedulers.slurm_words import state_of
from hpclaunch.shell import Completed
from tests.schedulers.replay import (
    RELEASES,
    completed,
    queue_answer,
    queue_rows,
    the_record,
)
from tests.transcripts.reader import records

pytestmark = [pytest.mark.pure]
on_all_releases = pytest.mark.parametrize("release", RELEASES)


def named(release: str, topic: str, name: str) -> JobStatus:
    """The status of the job of that name, as first recorded in a topic."""
    row = next(row for row in queue_rows(release, topic) if row["%j"] == name)
    return Slurm().parse_status(queue_answer(row), [row["%i"]])[row["%i"]]


@on_all_releases
def test_a_running_job_tells_its_node_and_when_it_ends(release):
    row = next(row for row in queue_rows(release, "20_state_R") if row["%j"] == "run")
    status = named(release, "20_state_R", "run")
    assert status.state is JobState.RUNNING
    assert status.nodes == ("c1",)
    assert status.ends_at == datetime.fromisoformat(row["%e"])
    assert status.expected_start is None
    assert status.reason == ""


@on_all_releases
def test_all_nodes_of_a_job_are_told_by_name(release):
    assert named(release, "13_multinode", "multi").nodes == ("c1", "c2")


@on_all_releases
@pytest.mark.parametrize(
    ("name", "reason", "has_estimate"),
    [
        ("big", "Resources", True),
        ("low", "Priority", True),
        ("begin", "BeginTime", True),
        ("dep", "Dependency", False),
        ("closed", "PartitionDown", False),
        ("q2", "QOSMaxCpuPerUserLimit", False),
    ],
)
def test_a_queued_job_tells_why_it_waits_and_the_expected_start(
    release, name, reason, has_estimate
):
    row = next(row for row in queue_rows(release, "21_state_PD") if row["%j"] == name)
    status = named(release, "21_state_PD", name)
    assert (status.state, status.word, status.reason) == (JobState.QUEUED, "PENDING", reason)
    assert status.expected_start == (datetime.fromisoformat(row["%S"]) if has_estimate else None)
    assert status.nodes == () and status.ends_at is None


@on_all_releases
@pytest.mark.parametrize(
    ("topic", "name", "state", "word"),
    [
        ("21_state_PD", "held", JobState.HELD, "PENDING"),
        ("23_state_CF", "conf", JobState.STARTING, "CONFIGURING"),
        ("24_state_CG", "run", JobState.ENDING, "COMPLETING"),
        ("28_state_NF", "nodefail_rq", JobState.QUEUED, "PENDING"),
        ("30_state_S", "susp", JobState.SUSPENDED, "SUSPENDED"),
        ("40_errors", "run", JobState.CANCELLED, "CANCELLED"),
        ("40_errors", "closed", JobState.CANCELLED, "CANCELLED"),
        ("40_errors", "hello", JobState.DONE, "COMPLETED"),
        ("40_errors", "F_exit3", JobState.FAILED, "FAILED"),
        ("40_errors", "F_sig9", JobState.FAILED, "FAILED"),
        ("40_errors", "nodefail", JobState.NODE_FAILED, "NODE_FAIL"),
        ("40_errors", "timeout", JobState.TIMEOUT, "TIMEOUT"),
    ],
)
def test_every_state_has_its_meaning(release, topic, name, state, word):
    status = named(release, topic, name)
    assert (status.state, status.word) == (state, word)


def test_a_reason_can_be_a_whole_sentence_with_parentheses():
    row = next(r for r in queue_rows("slurm-22.05", "40_errors")
               if r["%P"] == "bobonly" and r["%T"] == "PENDING")  # fmt: skip
    status = Slurm().parse_status(queue_answer(row), [row["%i"]])[row["%i"]]
    assert status.reason == (
        "Job's account not permitted to use this partition (bobonly allows proj2 not proj1)"
    )


@pytest.mark.parametrize("release", RELEASES[1:])
def test_newer_releases_tell_the_signal_in_the_reason(release):
    assert named(release, "40_errors", "F_sig9").reason == "RaisedSignal:9(Killed)"


def test_a_reason_may_hold_the_separator():
    said = Completed.of(["squeue"], 0, "7|PENDING|N/A|N/A||a|b (c|d)\n")
    assert Slurm().parse_status(said, ["7"])["7"].reason == "a|b (c|d)"


@on_all_releases
def test_one_query_answers_for_all_jobs(release):
    rows = queue_rows(release, "40_errors")
    ids = [row["%i"] for row in rows]
    assert len(ids) > 30
    statuses = Slurm().parse_status(queue_answer(*rows), ids)
    assert list(statuses) == ids
    for row in rows:
        assert statuses[row["%i"]].word == row["%T"]
        assert statuses[row["%i"]].state is not JobState.UNKNOWN


@on_all_releases
def test_an_unknown_id_among_others_is_lost_and_the_others_are_told(release):
    record = the_record(release, "31_json_finished", "999999", "squeue -h")
    ids = [line.partition("|")[0] for line in record.stdout.splitlines()]
    lines = [line.split("|") for line in record.stdout.splitlines()]  # id|short|word|reason
    text = "".join(f"{one}|{word}|N/A|N/A||{reason}\n" for one, _, word, reason in lines)
    said = Completed.of(["squeue"], record.exit, text, record.stderr)
    statuses = Slurm().parse_status(said, [*ids, "999999"])
    assert record.exit == 0
    assert statuses["999999"].state is JobState.LOST
    words = [statuses[one].word for one in ids]
    assert sorted(words) == ["CANCELLED", "COMPLETED", "FAILED", "FAILED", "PENDING"]


@on_all_releases
@pytest.mark.parametrize("topic", ["40_errors", "60_purged"])
def test_a_single_unknown_id_is_lost(release, topic):
    """Slurm exits 1 then; also for a job that it forgot after MinJobAge."""
    for record in records(release, topic):
        if "Invalid job id specified" in record.stderr and record.command.startswith("squeue"):
            said = completed(record)
            assert said.exit == 1
            assert Slurm().parse_status(said, ["66"])["66"].state is JobState.LOST
            break
    else:
        pytest.fail("no such record")


@on_all_releases
def test_a_controller_that_is_down_says_nothing_about_a_job(release):
    said = completed(the_record(release, "62_ctld_down", "squeue"))
    status = Slurm().parse_status(said, ["4"])["4"]
    assert status.state is JobState.UNKNOWN
    assert "Unable to contact slurm controller" in status.reason


@pytest.mark.parametrize("exit", [0, 1])
@pytest.mark.parametrize(
    "stderr",
    [
        "slurm_load_jobs error: Socket timed out on send/recv operation",
        "slurm_load_jobs error: Zero Bytes were transmitted or received",
        "slurm_load_jobs error: Slurm backup controller in standby mode",
        "squeue: error: Could not get cluster information",
    ],
)
def test_a_missing_answer_is_unknown_even_with_exit_0(exit, stderr):
    said = Completed.of(["squeue"], exit, "", stderr)
    assert Slurm().parse_status(said, ["4"])["4"].state is JobState.UNKNOWN


def test_a_command_that_is_not_there_says_nothing_about_a_job():
    said = Completed.of(["squeue"], 127, "", "env: 'squeue': No such file or directory")
    assert Slurm().parse_status(said, ["4"])["4"].state is JobState.UNKNOWN


def test_chatter_around_the_rows_is_no_row():
    text = "CLUSTER: c5\nNOTE: 3|hours|of|maintenance|to|come\n4|RUNNING|N/A|N/A|c1|None\n"
    statuses = Slurm().parse_status(Completed.of(["squeue"], 0, text), ["4", "3"])
    assert statuses["4"].state is JobState.RUNNING
    assert statuses["3"].state is JobState.LOST


def test_a_word_we_do_not_know_is_unknown_and_kept():
    said = Completed.of(["squeue"], 0, "4|HIBERNATING|N/A|N/A||None\n")
    status = Slurm().parse_status(said, ["4"])["4"]
    assert (status.state, status.word) == (JobState.UNKNOWN, "HIBERNATING")


@pytest.mark.parametrize("release", RELEASES[1:])
def test_every_state_that_squeue_lists_has_a_meaning(release):
    """22.05 has no --helpstate. Revoked is a federation's: the job lives on another cluster."""
    words = the_record(release, "00_site", "--helpstate").stdout.upper().split()
    assert len(words) > 20
    assert [word for word in words if state_of(word) is JobState.UNKNOWN] == ["REVOKED"]


def test_a_job_requeued_after_a_failed_launch_is_held():
    assert state_of("PENDING", "launch failed requeued held") is JobState.HELD
    assert state_of("PENDING", "JobHeldAdmin") is JobState.HELD
    assert state_of("RUNNING", "JobHeldUser") is JobState.RUNNING


def test_a_node_list_that_cannot_be_read_is_shown_as_it_is():
    said = Completed.of(["squeue"], 0, "4|RUNNING|N/A|N/A|c[1-|None\n")
    status = Slurm().parse_status(said, ["4"])["4"]
    assert (status.state, status.nodes) == (JobState.RUNNING, ("c[1-",))


def test_tasks_of_an_array_have_a_status_each():
    text = "60_3|PENDING|N/A|N/A||JobArrayTaskLimit\n60_1|RUNNING|N/A|N/A|c1|None\n"
    statuses = Slurm().parse_status(Completed.of(["squeue"], 0, text), ["60_1", "60_3", "60_9"])
    states = [statuses[one].state for one in ("60_1", "60_3", "60_9")]
    assert states == [JobState.RUNNING, JobState.QUEUED, JobState.LOST]


def test_the_query_asks_for_finished_jobs_and_whole_arrays():
    command = Slurm().status_command(["4", "60_1", "60_2"])
    assert {"--states=all", "--array", "--jobs=4,60"} <= set(command)


@pytest.mark.parametrize("variable", ["SQUEUE_PARTITION", "SQUEUE_USERS", "SQUEUE_NAMES"])
def test_no_filter_of_the_user_can_make_a_job_look_lost(variable):
    command = Slurm().status_command(["4"])
    place = command.index(variable)
    assert command[place - 1] == "-u" and place < command.index("squeue")


def test_times_come_in_iso_form_whatever_the_user_likes_to_see():
    for command in (Slurm().status_command(["4"]), Slurm().history_command(["4"])):
        assert command.index("SLURM_TIME_FORMAT=standard") < len(command) - 3


@pytest.mark.parametrize("ids", [[], [""], ["4,5"], ["abc"], ["-4"], ["4;reboot"], ["4\n"], ["٤"]])
def test_only_job_ids_are_asked_for(ids):
    slurm = Slurm()
    for ask in (slurm.status_command, slurm.history_command):
        with pytest.raises(ValueError, match="job id"):
            ask(ids)
    if ids:
        with pytest.raises(ValueError, match="job id"):
            slurm.cancel_commands(ids)


fields = st.text(st.sampled_from("0123456789|[]-,:TPENDINGRUNNING \n_%()"), max_size=60)


@given(stdout=st.text() | fields, stderr=st.text(), exit=st.integers(0, 255))
def test_any_answer_gives_one_status_for_every_id(stdout, stderr, exit):
    ids = ["1", "22", "3_4"]
    statuses = Slurm().parse_status(Completed.of(["squeue"], exit, stdout, stderr), ids)
    assert list(statuses) == ids
    assert all(status.id == one for one, status in statuses.items())


@given(
    start=fields.filter(lambda text: "|" not in text and "\n" not in text),
    end=fields.filter(lambda text: "|" not in text and "\n" not in text),
    nodes=fields.filter(lambda text: "|" not in text and "\n" not in text),
    reason=st.text().filter(lambda text: "\n" not in text),
)
def test_the_state_is_read_whatever_stands_beside_it(start, end, nodes, reason):
    said = Completed.of(["squeue"], 0, f"7|RUNNING|{start}|{end}|{nodes}|{reason}\n")
    assert Slurm().parse_status(said, ["7"])["7"].state is JobState.RUNNING
