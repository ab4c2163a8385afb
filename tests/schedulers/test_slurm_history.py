"""sacct's answers, of three releases: what became of jobs that left the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.shell import Completed
from tests.schedulers.replay import RELEASES, accounted_answer, completed, the_record
from tests.transcripts.reader import records

pytestmark = [pytest.mark.pure]
on_all_releases = pytest.mark.parametrize("release", RELEASES)


def accounted(release: str, topic: str, name: str) -> JobStatus:
    """The last thing the accounting said of the job of that name in a topic."""
    found = [
        record
        for record in records(release, topic)
        if " -X -P -n -o JobID," in record.command and f"|{name}|" in record.stdout
    ]
    job_id = found[-1].stdout.partition("|")[0]
    return Slurm().parse_history(accounted_answer(found[-1]), [job_id])[job_id]


@on_all_releases
@pytest.mark.parametrize(
    ("topic", "name", "state", "code", "signal"),
    [
        ("22_state_CD", "hello", JobState.DONE, 0, None),
        ("26_state_F", "F_exit3", JobState.FAILED, 3, None),
        ("26_state_F", "F_127", JobState.FAILED, 127, None),
        ("26_state_F", "F_sig9", JobState.FAILED, None, 9),
        ("26_state_F", "F_sig11", JobState.FAILED, None, 11),
        ("27_state_TO", "timeout", JobState.TIMEOUT, None, None),
        ("28_state_NF", "nodefail", JobState.NODE_FAILED, None, None),
        ("29_state_OOM", "oom", JobState.OUT_OF_MEMORY, None, None),
        ("29_state_OOM", "oom2", JobState.OUT_OF_MEMORY, None, None),
        ("25_scancel", "run", JobState.CANCELLED, None, None),
        ("60_purged", "purge", JobState.FAILED, 5, None),
    ],
)
def test_how_a_job_ended_is_known_after_it_left(release, topic, name, state, code, signal):
    status = accounted(release, topic, name)
    assert (status.state, status.exit_code, status.signal) == (state, code, signal)
    assert status.ends_at is not None
    assert status.nodes in (("c1",), ("c2",))


@on_all_releases
def test_who_cancelled_a_job_is_kept_in_the_word(release):
    status = accounted(release, "25_scancel", "run")
    assert (status.state, status.word) == (JobState.CANCELLED, "CANCELLED by 2001")


@on_all_releases
def test_a_job_cancelled_before_it_began_has_no_node_and_no_exit_code(release):
    status = accounted(release, "25_scancel", "begin")
    assert (status.state, status.nodes, status.exit_code) == (JobState.CANCELLED, (), None)


@on_all_releases
@pytest.mark.parametrize("name", ["badout", "baddir"])
def test_a_log_that_cannot_be_written_shows_as_signal_53(release, name):
    """Slurm's own number for it; the job never ran and nowhere is a log."""
    status = accounted(release, "53_output", name)
    assert (status.state, status.exit_code, status.signal) == (JobState.FAILED, None, 53)


@on_all_releases
@pytest.mark.parametrize(
    ("topic", "name", "state"),
    [
        ("20_state_R", "run", JobState.RUNNING),
        ("21_state_PD", "big", JobState.QUEUED),
        ("23_state_CF", "conf", JobState.RUNNING),  # the accounting knows no better
        ("28_state_NF", "nodefail_rq", JobState.QUEUED),
    ],
)
def test_a_live_job_has_no_end(release, topic, name, state):
    status = accounted(release, topic, name)
    assert (status.state, status.ends_at, status.exit_code) == (state, None, None)


@on_all_releases
def test_tasks_of_an_array_are_told_apart(release):
    said = accounted_answer(the_record(release, "52_array", "sacct -X -P"))
    base = said.stdout.partition("_")[0]
    statuses = Slurm().parse_history(said, [f"{base}_{task}" for task in (1, 2, 3)])
    assert [s.state for s in statuses.values()] == [JobState.DONE, JobState.FAILED, JobState.DONE]


def test_tasks_that_never_started_share_one_row():
    said = Completed.of(["sacct"], 0, "7_[2-4%1]|CANCELLED by 1|0:0|None|T|None assigned|None\n")
    statuses = Slurm().parse_history(said, ["7_2", "7_4", "7_5"])
    states = [status.state for status in statuses.values()]
    assert states == [JobState.CANCELLED, JobState.CANCELLED, JobState.LOST]


def test_of_an_array_the_whole_is_asked():
    """sacct finds no single task that never started."""
    assert "--jobs=7,8" in Slurm().history_command(["7_2", "8", "7_4"])


@on_all_releases
def test_a_job_the_accounting_does_not_know_is_lost(release):
    """sacct exits 0 and prints its header only; with --noheader nothing."""
    record = the_record(release, "40_errors", "sacct -j 999999")
    assert record.exit == 0
    assert Slurm().parse_history(completed(record), ["999999"])["999999"].state is JobState.LOST
    silent = Completed.of(["sacct"], 0)
    assert Slurm().parse_history(silent, ["999999"])["999999"].state is JobState.LOST


@on_all_releases
@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("61_dbd_down", "Problem talking to the database: Connection refused"),
        ("63_no_accounting", "Slurm accounting storage is disabled"),
    ],
)
def test_without_accounting_nothing_is_known(release, topic, words):
    for record in records(release, topic):
        if record.command.startswith("sacct") and record.exit != 0:
            status = Slurm().parse_history(completed(record), ["5"])["5"]
            assert status.state is JobState.UNKNOWN
            assert words in status.reason
            break
    else:
        pytest.fail("no such record")


def test_older_jobs_of_a_reused_id_are_kept_out():
    since = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert "--starttime=uts1795345200" in Slurm().history_command(["5"], since)
    assert datetime.fromtimestamp(1795345200, UTC) == since - timedelta(hours=1)


def test_the_time_zone_of_the_laptop_does_not_matter():
    here = datetime(2026, 11, 22, 13, 0, tzinfo=timezone(timedelta(hours=1)))
    there = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert Slurm().history_command(["5"], here) == Slurm().history_command(["5"], there)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        Slurm().history_command(["5"], datetime(2026, 11, 22))


def test_without_a_time_all_of_the_accounting_is_asked():
    assert not [word for word in Slurm().history_command(["5"]) if "starttime" in word]


fields = st.text(st.sampled_from("0123456789|[]-,:% _\nCOMPLETED"), max_size=80)


@given(stdout=st.text() | fields, stderr=st.text(), exit=st.integers(0, 255))
def test_any_answer_gives_one_status_for_every_id(stdout, stderr, exit):
    ids = ["1", "22", "3_4"]
    statuses = Slurm().parse_history(Completed.of(["sacct"], exit, stdout, stderr), ids)
    assert list(statuses) == ids
