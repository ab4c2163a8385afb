"""qstat's answers, of two releases: where jobs stand, and what became of them."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.pbs import Pbs
from hpclaunch.schedulers.pbs_rows import rows_of
from hpclaunch.shell import Completed
from tests.schedulers.replay import completed, the_record
from tests.schedulers.replay_pbs import RELEASES, as_text, described, jobs_in, named
from tests.transcripts.reader import records

pytestmark = [pytest.mark.pure]
on_both_releases = pytest.mark.parametrize("release", RELEASES)


def status(text: str, job: str = "7.pbs-login") -> JobStatus:
    return Pbs().parse_status(Completed.of(["qstat"], 0, text), [job])[job]


@on_both_releases
@pytest.mark.parametrize("topic", ["10_qsub_stdin", "20_state_R", "21_state_Q"])
def test_text_and_json_of_a_job_say_the_same(release, topic):
    """So that jobs recorded as JSON only may stand for text; the breaks are put together."""
    compared = 0
    as_json = {
        one: job for record in records(release, topic) for one, job in jobs_in(record).items()
    }
    for record in records(release, topic):
        for row in rows_of(record.stdout):
            if row.id not in as_json:
                continue
            (twin,) = rows_of(as_text({row.id: as_json[row.id]}))
            # JSON was asked a moment before or after.
            moving = ("mtime", "substate", "resources_used", "session_id", "estimated")
            for name, value in twin.fields.items():
                if not name.startswith(moving) and name in row.fields:
                    assert row.fields[name] == value, name
                    compared += 1
    assert compared > 20


@on_both_releases
def test_a_running_job_tells_its_node_and_when_it_ends(release):
    one, said = described(release, "20_state_R", "run", 0)
    told = Pbs().parse_status(said, [one])[one]
    (row,) = rows_of(said.stdout)
    assert (told.state, told.word, told.nodes) == (JobState.RUNNING, "R", ("pbs-c1",))
    begun = datetime.strptime(row.fields["stime"], "%a %b %d %H:%M:%S %Y")
    assert told.ends_at is not None and (told.ends_at - begun).total_seconds() == 3600
    assert told.expected_start is None
    assert told.reason == ""


@on_both_releases
def test_all_hosts_of_a_job_are_told_once_each(release):
    """``pbs-c1/0+pbs-c1/2*2+pbs-c2/0*2`` are three chunks on two hosts."""
    assert named(release, "13_multinode", "chunks").nodes == ("pbs-c1", "pbs-c2")
    assert named(release, "13_multinode", "multi").nodes == ("pbs-c1", "pbs-c2")


@on_both_releases
def test_a_job_whose_processes_are_being_started_is_starting(release):
    assert named(release, "10_qsub_stdin", "hello", 0).state is JobState.STARTING


@on_both_releases
def test_a_queued_job_tells_why_it_waits_and_the_expected_start(release):
    told = named(release, "21_state_Q", "big", 0)
    assert (told.state, told.word, told.nodes, told.ends_at) == (JobState.QUEUED, "Q", (), None)
    assert told.reason == "Not Running: Insufficient amount of resource: ncpus (R: 8 A: 5 T: 8)"
    assert told.expected_start is not None
    assert Pbs().never_starts(told) is None


@on_both_releases
def test_what_was_accepted_and_can_never_start_says_so(release):
    told = named(release, "21_state_Q", "never")
    assert told.expected_start is None
    never = Pbs().never_starts(told)
    assert never is not None and "what the job asks for" in never
    assert "ncpus (R: 64 A: 8 T: 8)" in never, "PBS's own words are for the help desk"


def test_a_job_that_only_waits_may_start():
    told = named(RELEASES[0], "21_state_Q", "stop")
    assert told.reason == "Not Running: Queue not started."
    assert Pbs().never_starts(told) is None


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLED, JobState.LOST])
def test_only_a_waiting_job_can_never_start(state):
    assert Pbs().never_starts(JobStatus("1.a", state, reason="Can Never Run: too large")) is None


@on_both_releases
@pytest.mark.parametrize(
    ("topic", "name", "nth", "state", "word"),
    [
        ("22_state_H", "held", 0, JobState.HELD, "H"),
        ("22_state_H", "dep", 0, JobState.QUEUED, "H"),  # nobody holds it: it waits for another
        ("23_state_W", "waiting", 0, JobState.QUEUED, "W"),
        ("26_state_S", "sus", 0, JobState.SUSPENDED, "S"),
        ("28_state_E", "ends", 0, JobState.ENDING, "E"),
    ],
)
def test_every_state_has_its_meaning(release, topic, name, nth, state, word):
    told = named(release, topic, name, nth)
    assert (told.state, told.word, told.exit_code) == (state, word, None)


@on_both_releases
def test_what_a_job_waits_for_is_its_reason(release):
    assert named(release, "22_state_H", "dep", 0).reason.startswith("it waits for afterok:")


@on_both_releases
@pytest.mark.parametrize(
    ("topic", "name", "state", "code", "signal", "reason"),
    [
        ("10_qsub_stdin", "hello", JobState.DONE, 0, None, "and finished"),
        ("30_failed", "f3", JobState.FAILED, 3, None, "and failed"),
        ("30_failed", "fn", JobState.FAILED, 127, None, "and failed"),
        ("30_failed", "fs", JobState.FAILED, 137, None, "and failed"),  # 128+9, the script's own
        ("30_failed", "fS", JobState.FAILED, 254, None, "and failed"),
        ("31_walltime", "wt", JobState.TIMEOUT, None, None, "exceeded resource walltime"),
        ("32_mem", "mem", JobState.OUT_OF_MEMORY, None, None, "exceeded resource mem"),
        ("25_qdel_2", "del", JobState.CANCELLED, None, 15, "terminated by alice@pbs-login"),
        ("25_qdel_2", "del2", JobState.CANCELLED, None, None, ""),  # before it ran
        ("24_state_E", "dep", JobState.FAILED, None, None, "it never ran"),
        ("62_node_down", "nd", JobState.CANCELLED, None, None, "and terminated"),  # -W force
    ],
)
def test_how_a_job_ended_is_known_from_the_history(
    release, topic, name, state, code, signal, reason
):
    told = named(release, topic, name)
    assert (told.state, told.word) == (state, "F")
    assert (told.exit_code, told.signal) == (code, signal)
    assert reason in told.reason


def test_what_a_failed_dependency_leaves_looks_finished_and_is_not():
    """F with substate 92, as a job that ran well; only the exit status is missing."""
    for release in RELEASES:
        one, said = described(release, "24_state_E", "dep")
        (row,) = rows_of(said.stdout)
        assert (row.fields["substate"], row.fields.get("Exit_status")) == ("92", None)
        assert Pbs().parse_status(said, [one])[one].state is JobState.FAILED


def test_a_finished_job_tells_when_it_ended():
    assert named("openpbs-23.06.06", "30_failed", "f3").ends_at == datetime(2026, 11, 22, 11, 24, 6)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (-29, JobState.TIMEOUT),
        (-28, JobState.FAILED),
        (-27, JobState.OUT_OF_MEMORY),
        (-26, JobState.OUT_OF_MEMORY),
        (-25, JobState.FAILED),
        (-24, JobState.FAILED),
        (-6, JobState.NODE_FAILED),
        (-5, JobState.NODE_FAILED),
        (-4, JobState.NODE_FAILED),
        (-1, JobState.FAILED),
        (0, JobState.DONE),
        (1, JobState.FAILED),
        (265, JobState.FAILED),
    ],
)
def test_every_exit_status_of_pbs_has_its_meaning(code, state):
    told = status(f"Job Id: 7.pbs-login\n    job_state = F\n    Exit_status = {code}\n")
    assert told.state is state
    assert told.exit_code == (code if 0 <= code < 256 else None)
    assert bool(told.reason) == (code in (*range(-29, -23), -6, -5, -4))


@pytest.mark.parametrize(
    ("code", "state"), [(0, JobState.DONE), (3, JobState.FAILED), (271, JobState.CANCELLED)]
)
def test_a_job_that_torque_has_completed(code, state):
    text = (
        "Job Id: 7.server.site\n    Job_Name = a\n    job_state = C\n    exec_host = n1/0+n1/1\n"
        f"    exit_status = {code}\n    comp_time = Sun Nov 22 11:24:06 2026\n"
    )
    told = status(text, "7.server.site")
    assert (told.state, told.nodes) == (state, ("n1",))
    assert told.ends_at == datetime(2026, 11, 22, 11, 24, 6)


@on_both_releases
def test_a_finished_job_is_lost_until_its_history_is_asked(release):
    record = the_record(release, "24_state_E", "finished, without -x")
    one = record.command.split()[-1]
    told = Pbs().parse_status(Completed.of(["qstat"], 35, "", record.stderr), [one])[one]
    assert record.exit == 35
    assert (told.state, told.word) == (JobState.LOST, "F")
    assert Pbs().history_command([one]) == ["qstat", "-x", "-f", one]
    assert Pbs().status_command([one]) == ["qstat", "-f", one]


@on_both_releases
def test_an_unknown_job_is_lost(release):
    said = completed(the_record(release, "40_errors", "qstat 999999"))
    assert said.exit == 153
    statuses = Pbs().parse_status(said, ["999999.pbs-login", "7.pbs-login"])
    assert [one.state for one in statuses.values()] == [JobState.LOST, JobState.UNKNOWN]


def test_an_unknown_id_among_others_is_lost_and_the_others_are_told():
    _, said = described(RELEASES[0], "20_state_R", "run", 0)
    mixed = Completed.of(["qstat"], 153, said.stdout, "qstat: Unknown Job Id 99.pbs-login\n")
    statuses = Pbs().parse_status(mixed, ["14.pbs-login", "99.pbs-login"])
    assert [one.state for one in statuses.values()] == [JobState.RUNNING, JobState.LOST]


@on_both_releases
def test_without_history_a_finished_job_is_lost_and_nothing_is_known_of_its_end(release):
    gone = next(r for r in records(release, "60_no_history") if "Unknown Job Id" in r.stderr)
    one = gone.command.split()[-1]
    assert Pbs().parse_status(completed(gone), [one])[one].state is JobState.LOST
    silent = [r for r in records(release, "60_no_history") if "not configured" in r.stderr]
    assert len(silent) >= 2, "while the job runs too"
    for record in silent:
        told = Pbs().parse_history(completed(record), [one])[one]
        assert told.state is JobState.UNKNOWN
    assert Pbs(dialect="torque").history_command([one]) is None


@on_both_releases
def test_a_server_that_is_down_says_nothing_about_a_job(release):
    said = completed(next(r for r in records(release, "61_server_down") if r.exit == 255))
    told = Pbs().parse_status(said, ["7.pbs-login"])["7.pbs-login"]
    assert told.state is JobState.UNKNOWN
    assert "Connection refused" in told.reason


def test_a_command_that_is_not_there_says_nothing_about_a_job():
    said = Completed.of(["qstat"], 127, "", "sh: qstat: not found")
    assert Pbs().parse_status(said, ["7.a"])["7.a"].state is JobState.UNKNOWN


def test_an_answer_without_the_job_says_nothing_about_it():
    assert status("").state is JobState.UNKNOWN
    assert status("Job Id: 8.pbs-login\n    job_state = R\n").state is JobState.UNKNOWN


def test_a_server_may_be_spelled_with_its_domain_and_without():
    text = "Job Id: 7.pbs-login.site.example\n    job_state = R\n    substate = 42\n"
    assert status(text).state is JobState.RUNNING
    assert status(text).id == "7.pbs-login", "the id that was asked for"


def test_chatter_before_the_answer_is_no_job():
    text = "NOTE: maintenance\n    job_state = F\nJob Id: 7.pbs-login\n    job_state = Q\n"
    assert status(text).state is JobState.QUEUED


def test_a_word_we_do_not_know_is_unknown_and_kept():
    told = status("Job Id: 7.pbs-login\n    job_state = M\n")
    assert (told.state, told.word) == (JobState.UNKNOWN, "M")


@on_both_releases
def test_a_value_with_line_breaks_does_not_change_what_the_job_is(release):
    """A variable of the user's that ``qsub -V`` or ``-v`` took along."""
    assert named(release, "50_env", "e3").state is JobState.DONE
    hostile = "Job Id: 7.pbs-login\n    job_state = R\n    Variable_List = A=1\n    job_state = F\n"
    assert status(hostile).word == "R", "what qstat itself prints comes first"


@pytest.mark.parametrize(
    "ids", [[], [""], ["4,5"], ["abc"], ["-4"], ["4;reboot"], ["4\n"], ["٤"], ["4.a b"], ["*"]]
)
def test_only_job_ids_are_asked_for(ids):
    for ask in (Pbs().status_command, Pbs().history_command):
        with pytest.raises(ValueError, match="job id"):
            ask(ids)
    if ids:
        with pytest.raises(ValueError, match="job id"):
            Pbs().cancel_commands(ids)


values = st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), max_size=200)


@given(name=values, comment=values)
def test_the_state_is_read_whatever_stands_beside_it(name, comment):
    text = (
        f"Job Id: 7.pbs-login\n    Job_Name = {name}\n    job_state = Q\n    comment = {comment}\n"
    )
    told = status(text)
    assert (told.state, told.reason) == (JobState.QUEUED, comment)


@given(values.filter(bool), st.integers(1, 40))
def test_a_long_value_is_put_together_again(value, width):
    """qstat breaks a value anywhere, and begins the next line with a tab."""
    pieces = [value[start : start + width] for start in range(0, len(value), width)]
    text = "Job Id: 7.pbs-login\n    job_state = Q\n    comment = " + "\n\t".join(pieces) + "\n"
    assert status(text).reason == value
