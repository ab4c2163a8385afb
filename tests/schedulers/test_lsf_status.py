"""What bjobs and bhist say: where jobs stand, and what became of them."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.lsf import Lsf
from hpclaunch.schedulers.lsf_text import jobs_of
from hpclaunch.shell import Completed
from tests.schedulers.replay import completed, the_record
from tests.transcripts.reader import Record, records

pytestmark = [pytest.mark.pure]

RELEASE = "volclava-2.2.0-beta"
FORMS = ("bjobs -UF", "bjobs -l", "bhist -l")


def told(record: Record, job: str) -> JobStatus:
    return Lsf().parse_status(completed(record), [job])[job]


def of(topic: str, job: str, form: str = "bjobs -UF", nth: int = -1) -> JobStatus:
    """What a long form said of a job in a topic."""
    found = [one for one in records(RELEASE, topic) if one.command == f"{form} {job}"]
    return told(found[nth], job)


def status(text: str, job: str = "7") -> JobStatus:
    return Lsf().parse_status(Completed.of(["bjobs"], 0, text), [job])[job]


def described(word: str, *lines: str, name: str = "a", command: str = "x") -> str:
    head = f"Job <7>, Job Name <{name}>, User <u>, Project <p>, Status <{word}>, Queue <q>, "
    return "\n".join(["", f"{head}Command <{command}>", *lines, ""])


@pytest.mark.parametrize(
    ("topic", "job", "state", "word", "reason"),
    [
        ("20_state_RUN", "33", JobState.RUNNING, "RUN", ""),
        ("21_state_PEND", "35", JobState.QUEUED, "PEND", "Job slot limit reached: 2 hosts"),
        ("22_state_PSUSP", "40", JobState.HELD, "PSUSP", "Job slot limit reached: 2 hosts"),
        ("23_state_USUSP", "33", JobState.SUSPENDED, "USUSP", "The job was suspended by user"),
        ("63_state_UNKWN", "119", JobState.UNKNOWN, "UNKWN", ""),
    ],
)
@pytest.mark.parametrize("form", FORMS[:2])
def test_every_state_has_its_meaning(topic, job, state, word, reason, form):
    one = of(topic, job, form, nth=0)
    assert (one.state, one.word, one.reason, one.exit_code) == (state, word, reason, None)


def test_the_states_that_no_record_shows():
    """From the manual of bjobs; a word that is in no table is kept."""
    words = {"SSUSP": JobState.SUSPENDED, "ZOMBI": JobState.NODE_FAILED, "PROV": JobState.STARTING,
             "WAIT": JobState.QUEUED, "HIBERNATING": JobState.UNKNOWN}  # fmt: skip
    for word, state in words.items():
        one = status(described(word))
        assert (one.state, one.word) == (state, word)


def test_a_job_whose_host_is_lost_sight_of_is_not_given_up():
    one = of("63_state_UNKWN", "119", nth=0)
    assert not one.state.is_final
    assert one.word == "UNKWN", "LSF did answer"
    assert one.nodes == ("lsf-c2",)


def test_all_hosts_of_a_job_are_told_once_each():
    assert of("13_multihost", "30", "bjobs -l").nodes == ("lsf-c2", "lsf-c1")
    assert of("20_state_RUN", "33").nodes == ("lsf-c2",)
    assert of("21_state_PEND", "35").nodes == ()


@pytest.mark.parametrize(
    ("hosts", "nodes"),
    [
        ("<4*c1:8*c2>", ("c1", "c2")),
        ("<2*c1> <2*c2>", ("c1", "c2")),
        ("<c1> <c1> <c2>", ("c1", "c2")),
    ],
)
def test_hosts_are_read_in_the_ways_of_several_releases(hosts, nodes):
    time = "Sun Nov 22 11:19:11"
    for event in (
        f"Started 4 Task(s) on Host(s) {hosts}, Allocated 4 Slot(s) on Host(s) {hosts}, "
        "Execution Home </home/u>",
        f"Started on 4 Hosts/Processors {hosts}, Execution Home </home/u>;",
    ):
        assert status(described("RUN", f"{time}: {event}")).nodes == nodes


ENDINGS = [
    ("26_state_DONE", "43", JobState.DONE, 0, "Done successfully."),
    ("27_state_EXIT", "44", JobState.FAILED, 3, "Exited with exit code 3."),
    ("27_state_EXIT", "45", JobState.FAILED, 127, "Exited with exit code 127."),
    ("27_state_EXIT", "47", JobState.FAILED, 137, "Exited with exit code 137."),
    ("28_runlimit", "116", JobState.TIMEOUT, None, "Exited with exit code 140."),
    ("30_cpulimit", "117", JobState.FAILED, 152, "Exited with exit code 152."),
    ("25_bkill", "33", JobState.CANCELLED, None, "Exited with exit code 130."),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("topic", "job", "state", "code", "words"), ENDINGS)
def test_how_a_job_ended_is_told_by_all_long_forms(form, topic, job, state, code, words):
    """``bhist -l`` breaks its lines; its events alone tell the state."""
    one = of(topic, job, form)
    assert (one.state, one.exit_code, one.reason) == (state, code, words)
    assert one.word == ("DONE" if state is JobState.DONE else "EXIT")
    assert one.nodes == ("lsf-c2",)


def test_only_the_long_forms_tell_an_exit_code():
    (record,) = [r for r in records(RELEASE, "19_fields") if '-o "exit_code"' in r.command]
    assert (record.exit, "not a valid field name" in record.stderr) == (99, True)


def test_a_job_that_was_killed_before_it_began_is_cancelled():
    one = of("25_bkill", "35")
    assert (one.state, one.nodes, one.exit_code) == (JobState.CANCELLED, (), None)


def test_a_job_that_ignores_signals_is_cancelled_as_its_history_tells():
    ignores = [r for r in records(RELEASE, "25_bkill") if "bjobs -l 42" in r.command]
    text = "\n".join(ignores[-1].stdout.split("\n")[1:])  # behind the date
    assert "Exited by signal 9" in text
    assert (status(text, "42").state, status(text, "42").signal) == (JobState.FAILED, 9)
    history = (
        "\nJob <42>, Job Name <ig>, User <alice>, Project <default>, Command <x>\n"
        "Sun Nov 22 11:20:11: Dispatched to <lsf-c2>;\n"
        "Sun Nov 22 11:20:13: Signal <KILL> requested by user or administrator <alice>;\n"
        "Sun Nov 22 11:20:33: Exited by signal 9. The CPU time used is 0.0 seconds;\n"
    )
    assert status(history, "42").state is JobState.CANCELLED


def test_an_ending_of_which_lsf_knows_nothing_is_a_failure_without_a_code():
    one = of("63_state_UNKWN", "119")
    assert (one.state, one.exit_code, one.signal) == (JobState.FAILED, None, None)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("TERM_RUNLIMIT: job killed after reaching LSF run time limit.", JobState.TIMEOUT),
        (
            "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.",
            JobState.OUT_OF_MEMORY,
        ),
        ("TERM_OWNER: job killed by owner.", JobState.CANCELLED),
        ("TERM_ADMIN: job killed by root or LSF administrator.", JobState.CANCELLED),
        ("TERM_UNKNOWN: unknown reason.", JobState.FAILED),
    ],
)
@pytest.mark.parametrize("place", ["event", "line"])
def test_ibms_reasons_go_before_exit_codes(reason, state, place):
    """After the manual of bjobs; volclava has none."""
    begun = "Sun Nov 22 11:19:11: Started 1 Task(s) on Host(s) <c1>, Allocated 1 Slot(s);"
    exited = "Sun Nov 22 11:20:11: Exited with exit code 143. The CPU time used is 0.1 seconds."
    lines = {
        "event": [begun, exited, f"Sun Nov 22 11:20:11: Completed <exit>; {reason}"],
        "line": [begun, exited, f" {reason}"],
    }
    assert status(described("EXIT", *lines[place])).state is state


def test_lines_that_ibm_breaks_at_80_are_put_together():
    record = next(r for r in records(RELEASE, "20_state_RUN") if r.command == "bjobs -l 33")
    broken = []
    for line in record.stdout.split("\n"):
        width = 58 if line.startswith(("Job", "Sun")) else 999
        first, *rest = textwrap.wrap(line, width, drop_whitespace=False) or [""]
        broken += [first, *(" " * 21 + one for one in rest)]
    assert len(broken) > len(record.stdout.split("\n"))
    assert status("\n".join(broken), "33") == told(record, "33")


def test_several_jobs_of_one_answer_are_told_apart():
    texts = [
        next(r for r in records(RELEASE, topic) if r.command == f"bjobs -UF {job}").stdout
        for topic, job in (("20_state_RUN", "33"), ("21_state_PEND", "35"), ("27_state_EXIT", "44"))
    ]
    said = Completed.of(["bjobs"], 255, ("-" * 78).join(texts), "Job <9> is not found\n")
    statuses = Lsf().parse_status(said, ["44", "33", "35", "9", "10"])
    assert [one.state for one in statuses.values()] == [
        JobState.FAILED,
        JobState.RUNNING,
        JobState.QUEUED,
        JobState.LOST,
        JobState.UNKNOWN,
    ]


def test_a_job_that_lsf_has_cleaned_away_is_lost_and_its_history_is_asked():
    gone = the_record(RELEASE, "60_cleaned", "bjobs 113")
    assert gone.exit == 255
    assert told(gone, "113").state is JobState.LOST
    assert Lsf().history_command(["113"])[-3:] == ["bhist", "-l", "113"]
    history = the_record(RELEASE, "60_cleaned", "bhist -l 113")
    one = Lsf().parse_history(completed(history), ["113"])["113"]
    assert (one.state, one.exit_code) == (JobState.FAILED, 5)


def test_a_history_without_an_end_says_nothing():
    running = next(r for r in records(RELEASE, "28_runlimit") if r.command == "bhist -l 115")
    assert Lsf().parse_history(completed(running), ["115"])["115"].state is JobState.UNKNOWN


def test_a_job_that_was_never_is_lost():
    for command in ("bjobs 999999", "bjobs -l 999999", "bhist -l 999999"):
        record = next(r for r in records(RELEASE, "40_errors") if r.command == command)
        assert told(record, "999999").state is JobState.LOST, command


def test_a_master_that_is_down_says_nothing_about_a_job():
    hanging = [one for one in records(RELEASE, "61_master_down") if "bjobs" in one.command]
    assert len(hanging) >= 3
    for record in hanging:
        one = told(record, "33")
        assert one.state is JobState.UNKNOWN, record.command
        assert one.word == ""
        assert one.reason


def test_a_command_that_is_not_there_says_nothing_about_a_job():
    said = Completed.of(["bjobs"], 127, "", "env: 'bjobs': No such file or directory")
    assert Lsf().parse_status(said, ["7"])["7"].state is JobState.UNKNOWN


def test_a_command_that_speaks_of_other_states_does_not_change_the_job():
    text = described("RUN", command="echo Status <DONE>, Queue; TERM_RUNLIMIT")
    assert status(text).state is JobState.RUNNING


def test_what_can_never_start_says_so():
    record = next(r for r in records(RELEASE, "25_bkill") if r.note == "its dependent")
    one = told(record, "38")
    never = Lsf().never_starts(one)
    assert never is not None and "depends on" in never
    assert one.reason in never, "LSF's own words are for the help desk"


@pytest.mark.parametrize("job", ["35", "37"])
def test_a_job_that_only_waits_may_start(job):
    """37 asks for more memory than any host has; LSF gives the same reason as for 35."""
    assert Lsf().never_starts(of("21_state_PEND", job)) is None


@pytest.mark.parametrize(
    "ids", [[], [""], ["4,5"], ["abc"], ["-4"], ["4;x"], ["4\n"], ["٤"], ["0 1"]]
)
def test_only_job_ids_are_asked_for(ids):
    for ask in (Lsf().status_command, Lsf().history_command):
        with pytest.raises(ValueError, match="job id"):
            ask(ids)
    if ids:
        with pytest.raises(ValueError, match="job id"):
            Lsf().cancel_commands(ids)


words = st.text(st.characters(exclude_characters="\n\r<>", exclude_categories=("Cs",)), max_size=80)


@given(name=words, command=words, reason=words)
def test_the_state_is_read_whatever_stands_beside_it(name, command, reason):
    text = described("RUN", f" PENDING REASONS:\n {reason}", name=name, command=command)
    (job,) = jobs_of(text)
    assert (job.id, job.name, job.word) == ("7", name, "RUN")
