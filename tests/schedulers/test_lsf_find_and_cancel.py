"""Finding jobs by their name, and ending them."""

from __future__ import annotations

import re

import pytest

from hpclaunch.errors import SchedulerError
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.shell import Completed
from tests.schedulers.replay import completed, the_record
from tests.transcripts.reader import Record, records

pytestmark = [pytest.mark.pure]

RELEASE = "volclava-2.2.0-beta"


def echoed(record: Record) -> Completed:
    """A record of ``COMMAND; echo rc=N``, with the exit status that it echoes."""
    code = re.search(r"rc=(\d+)", record.stdout)
    exit = int(code[1]) if code else record.exit
    return Completed.of(record.command.split(";")[0].split(), exit, record.stdout, record.stderr)


def test_only_live_jobs_of_exactly_this_name_are_found():
    running = next(r for r in records(RELEASE, "20_state_RUN") if r.command == "bjobs -UF 33")
    assert Lsf().parse_find(completed(running), "run") == ["33"]
    assert Lsf().parse_find(completed(running), "ru") == []
    ended = next(r for r in records(RELEASE, "27_state_EXIT") if r.command == "bjobs -UF 44")
    assert Lsf().parse_find(completed(ended), "x3") == []


@pytest.mark.parametrize(("topic", "job", "name"), [("63_state_UNKWN", "119", "un")])
def test_a_job_on_a_lost_host_counts_as_alive(topic, job, name):
    record = next(r for r in records(RELEASE, topic) if r.command == f"bjobs -UF {job}")
    assert Lsf().parse_find(completed(record), name) == [job]


@pytest.mark.parametrize("command", ["bjobs -J nosuch", "bjobs -u nosuchuser"])
def test_nothing_listed_means_there_is_none(command):
    record = next(r for r in records(RELEASE, "40_errors") if r.command == command)
    assert record.exit == 254
    assert Lsf().parse_find(completed(record), "nosuch") == []


def test_a_master_that_is_down_does_not_mean_there_is_none():
    for record in records(RELEASE, "61_master_down"):
        if "timeout" in record.command and "bjobs" in record.command:
            with pytest.raises(SchedulerError) as caught:
                Lsf().parse_find(echoed(record), "a")
            assert "not responding" in str(caught.value.said)


@pytest.mark.parametrize("name", ["a*", "arr[1]", "", "a b"])
def test_a_name_that_lsf_would_read_as_a_pattern_is_not_asked_for(name):
    with pytest.raises(ValueError, match="no name"):
        Lsf().find_command(name)


def test_all_jobs_are_ended_by_one_command():
    (command,) = Lsf().cancel_commands(["4", "5"])
    assert command[-3:] == ["bkill", "4", "5"]
    assert Lsf().cancel_commands([]) == []
    record = the_record(RELEASE, "25_bkill", "bkill 35  37 39")
    Lsf().parse_cancel(echoed(record))


@pytest.mark.parametrize(
    "fragments", [("bkill 33", "again"), ("bkill 999999",), ("bkill 33", "running")]
)
def test_ending_what_is_gone_or_going_is_no_error(fragments):
    Lsf().parse_cancel(echoed(the_record(RELEASE, "25_bkill", *fragments)))


def test_a_job_on_a_lost_host_is_noted_to_be_ended():
    record = the_record(RELEASE, "63_state_UNKWN", "bkill 119")
    assert echoed(record).exit == 255
    Lsf().parse_cancel(echoed(record))


def test_another_users_job_is_not_ended():
    record = the_record(RELEASE, "25_bkill", "bkill 41;")
    with pytest.raises(SchedulerError, match="did not end") as caught:
        Lsf().parse_cancel(echoed(record))
    assert "User permission denied" in str(caught.value.said)


def test_one_refusal_among_jobs_that_are_over_counts():
    text = "Job <5>: Job has already finished\nJob <6>: User permission denied\n"
    with pytest.raises(SchedulerError):
        Lsf().parse_cancel(Completed.of(["bkill"], 255, "", text))


@pytest.mark.parametrize("exit", [124, 137])
def test_a_job_is_not_ended_when_nobody_answered(exit):
    text = "batch system daemon not responding ... still trying\n"
    with pytest.raises(SchedulerError):
        Lsf().parse_cancel(Completed.of(["bkill"], exit, "", text))
