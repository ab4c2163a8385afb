"""Finding jobs by their name, and ending them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import SchedulerError
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.shell import Completed
from tests.schedulers.replay import RELEASES, completed, queue_rows, the_record
from tests.transcripts.reader import Record

pytestmark = [pytest.mark.pure]
on_all_releases = pytest.mark.parametrize("release", RELEASES)


def listing(*rows: tuple[str, str, str]) -> Completed:
    """squeue's answer in the format of `find_command`: array or job id, state, name."""
    return Completed.of(["squeue"], 0, "".join("|".join(row) + "\n" for row in rows))


def recorded_listing(release: str) -> Completed:
    rows = queue_rows(release, "40_errors")
    return listing(*((row["%i"].partition("_")[0], row["%T"], row["%j"]) for row in rows))


@on_all_releases
def test_only_live_jobs_of_exactly_this_name_are_found(release):
    said = recorded_listing(release)
    assert Slurm().parse_find(said, "hello") == [], "they are finished"
    assert Slurm().parse_find(said, "nosuch") == []
    live = Slurm().parse_find(said, "wrap")
    assert len(live) >= 6
    rows = {row["%i"].partition("_")[0]: row for row in queue_rows(release, "40_errors")}
    assert {rows[one]["%T"] for one in live} <= {"PENDING", "RUNNING", "COMPLETING"}


def test_a_name_is_matched_whole():
    said = listing(("1", "RUNNING", "a"), ("2", "RUNNING", "ab"), ("3", "RUNNING", " a"))
    assert Slurm().parse_find(said, "a") == ["1"]


def test_a_name_may_hold_the_separator_commas_and_blanks():
    said = listing(("1", "RUNNING", "a|b, c"), ("2", "RUNNING", "a"))
    assert Slurm().parse_find(said, "a|b, c") == ["1"]


def test_an_array_is_found_once_by_the_id_that_cancels_it():
    said = listing(("60", "RUNNING", "arr"), ("60", "PENDING", "arr"), ("61", "PENDING", "arr"))
    assert Slurm().parse_find(said, "arr") == ["60", "61"]


def test_a_state_we_do_not_know_counts_as_alive():
    assert Slurm().parse_find(listing(("1", "HIBERNATING", "a")), "a") == ["1"]


def test_nothing_listed_means_there_is_none():
    assert Slurm().parse_find(Completed.of(["squeue"], 0), "a") == []


@on_all_releases
def test_a_controller_that_is_down_does_not_mean_there_is_none(release):
    with pytest.raises(SchedulerError) as caught:
        Slurm().parse_find(completed(the_record(release, "62_ctld_down", "squeue")), "a")
    assert "Unable to contact slurm controller" in str(caught.value.said)


def test_a_timeout_with_exit_0_does_not_mean_there_is_none():
    said = Completed.of(["squeue"], 0, "", "slurm_load_jobs error: Socket timed out")
    with pytest.raises(SchedulerError):
        Slurm().parse_find(said, "a")


def test_only_the_users_own_jobs_are_asked_for():
    command = Slurm().find_command("a,b")
    assert "--me" in command and "--states=all" in command
    assert not [word for word in command if "a,b" in word], "squeue would split it at the comma"


@given(stdout=st.text(), stderr=st.text(), exit=st.integers(0, 255), name=st.text())
def test_any_listing_gives_ids_or_a_scheduler_error(stdout, stderr, exit, name):
    try:
        found = Slurm().parse_find(Completed.of(["squeue"], exit, stdout, stderr), name)
    except SchedulerError:
        return
    assert exit == 0
    assert all(one and one in stdout for one in found)


def cancelled(record: Record) -> Completed:
    """A record of ``scancel IDS; echo rc=N``, with the exit status that it echoes."""
    echoed = re.search(r"rc=(\d+)", record.stdout)
    exit = int(echoed[1]) if echoed else record.exit
    return Completed.of(["scancel"], exit, "", record.stderr)


@on_all_releases
@pytest.mark.parametrize("fragments", [("scancel 4;", "again"), ("scancel 999999",)])
def test_cancelling_what_is_gone_is_no_error(release, fragments):
    said = cancelled(the_record(release, "25_scancel", *fragments))
    assert said.exit == 0
    Slurm().parse_cancel(said)


@on_all_releases
def test_cancelling_several_of_which_one_just_ended_is_no_error(release):
    Slurm().parse_cancel(cancelled(the_record(release, "25_scancel", "scancel -v")))


def test_an_error_about_a_job_that_just_ended_is_none():
    text = "scancel: error: Kill job error on job id 5: Job/step already completing or completed\n"
    Slurm().parse_cancel(Completed.of(["scancel"], 1, "", text))
    with pytest.raises(SchedulerError):
        denied = "scancel: error: Kill job error on job id 6: Access/permission denied\n"
        Slurm().parse_cancel(Completed.of(["scancel"], 1, "", text + denied))


@on_all_releases
def test_another_users_job_is_not_cancelled(release):
    said = cancelled(the_record(release, "25_scancel", "another user's job"))
    assert said.exit == 210
    with pytest.raises(SchedulerError) as caught:
        Slurm().parse_cancel(said)
    assert "Access/permission denied" in str(caught.value.said)


@on_all_releases
def test_a_job_is_not_cancelled_while_the_controller_is_down(release):
    with pytest.raises(SchedulerError) as caught:
        Slurm().parse_cancel(completed(the_record(release, "62_ctld_down", "scancel")))
    assert "Unable to contact slurm controller" in str(caught.value.said)


@pytest.mark.parametrize("exit", [0, 1])
def test_a_job_is_not_cancelled_when_nobody_answered(exit):
    text = "scancel: error: Kill job error on job id 5: Socket timed out on send/recv operation"
    with pytest.raises(SchedulerError):
        Slurm().parse_cancel(Completed.of(["scancel"], exit, "", text))


def test_all_jobs_are_cancelled_by_one_command():
    (command,) = Slurm().cancel_commands(["4", "60_2"])
    assert command[-3:] == ["scancel", "4", "60_2"]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["7_0", "9", "7_1", "7_2", "7_5", "8_3"], ["7_[0-2,5]", "9", "8_3"]),
        (["7_1", "7"], ["7"]),
        (["7_10", "7_9"], ["7_[9-10]"]),
    ],
)
def test_tasks_of_an_array_are_cancelled_by_one_word(ids, words):
    (command,) = Slurm().cancel_commands(ids)
    assert command[-len(words) :] == words


def test_nothing_is_run_for_no_job():
    assert Slurm().cancel_commands([]) == []


def test_no_filter_of_the_user_can_spare_a_job():
    (command,) = Slurm().cancel_commands(["4"])
    for name in ("SCANCEL_USER", "SCANCEL_NAME", "SCANCEL_STATE", "SCANCEL_INTERACTIVE"):
        assert command[command.index(name) - 1] == "-u"


@given(stderr=st.text(), exit=st.integers(0, 255))
def test_any_answer_to_cancel_is_good_or_a_scheduler_error(stderr, exit):
    try:
        Slurm().parse_cancel(Completed.of(["scancel"], exit, "", stderr))
    except SchedulerError as error:
        assert error.hint
