"""Jobs on a machine without a scheduler: the spelling, and the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.node.localjob_text import (
    Request,
    Row,
    parse_rows,
    read_request,
    render_row,
)
from hpclaunch.schedulers.base import JobSpec, JobState
from hpclaunch.schedulers.local import Local
from hpclaunch.shell import Completed
from hpclaunch.units import Memory, Walltime

pytestmark = [pytest.mark.pure]

LOCAL = Local(python="/opt/py/bin/python", spool="/home/a/my spool")
PLAIN = JobSpec(name="s-1", log="/home/a/job.log", walltime=Walltime(5400))
texts = st.text(st.characters(exclude_characters="\n\0", exclude_categories=("Cs",)))


def spec(**changes: object) -> JobSpec:
    return JobSpec(**{**PLAIN.__dict__, **changes})  # type: ignore[arg-type]


def script(job: JobSpec) -> bytes:
    lines = ["#!/bin/bash", *LOCAL.directives(job), "echo run", "#HPCLAUNCH --time=00:00:01"]
    return "\n".join(lines).encode()


def said(stdout: str = "", exit: int = 0, stderr: str = "") -> Completed:
    return Completed.of(["localjob"], exit, stdout, stderr)


def test_a_job_has_these_directives():
    assert LOCAL.directives(spec(name="it's mine", memory=Memory(2**30), cores=4)) == [
        """#HPCLAUNCH --job-name='it'"'"'s mine'""",
        "#HPCLAUNCH --output=/home/a/job.log",
        "#HPCLAUNCH --time=01:30:00",
    ]


def test_every_command_is_localjob_under_the_given_interpreter():
    start = ["/opt/py/bin/python", "-P", "-m", "hpclaunch.node.localjob", "/home/a/my spool"]
    assert LOCAL.submit_command(PLAIN) == [*start, "submit"]
    assert LOCAL.status_command(["1", "2"]) == [*start, "status", "1", "2"]
    assert LOCAL.find_command("a b") == [*start, "find", "a b"]
    assert LOCAL.cancel_commands(["1", "2"]) == [[*start, "cancel", "1", "2"]]
    assert LOCAL.cancel_commands([]) == []
    assert LOCAL.history_command(["1"]) is None


@given(name=texts.filter(bool), log=texts.map("/".__add__), seconds=st.integers(1, 10**7))
def test_localjob_reads_any_text_exactly_as_it_was_given(name, log, seconds):
    job = spec(name=name, log=log, walltime=Walltime(seconds))
    assert read_request(script(job)) == Request(name, log, seconds, ("/bin/bash",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": 2}, "one node"),
        ({"queue": "short"}, "queue 'short'"),
        ({"account": "p1"}, "account 'p1'"),
        ({"qos": "low"}, "QOS 'low'"),
        ({"extra": ("--constraint=cpu",)}, "--constraint=cpu"),
        ({"name": ""}, "name"),
        ({"log": "job.log"}, "absolute"),
        ({"name": "a\n#HPCLAUNCH --time=00:00:01"}, "newline"),
        ({"log": "/a\0b"}, "NUL"),
    ],
)
def test_what_this_machine_has_not_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        LOCAL.directives(spec(**changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "#!"),
        ("echo hi\n", "#!"),
        ("#!\n", "#!"),
        ("#!/bin/sh\necho hi\n", "job-name"),
        ("#!/bin/sh\n#HPCLAUNCH --job-name=a\n#HPCLAUNCH --time=00:01:00\n", "output"),
        ("#!/bin/sh\n#HPCLAUNCH --job-name=a --output=/b --time=60\n", "HH:MM:SS"),
        ("#!/bin/sh\n#HPCLAUNCH --job-name=a --output=/b --time=00:00:00\n", "more than 0"),
        ("#!/bin/sh\n#HPCLAUNCH --job-name=a --output=b --time=00:01:00\n", "absolute"),
        ("#!/bin/sh\n#HPCLAUNCH --mem=1G\n", "--mem=1G"),
        ("#!/bin/sh\n#HPCLAUNCH --job-name='a\n", "quotation"),
        ("#!/bin/sh\necho\n#HPCLAUNCH --job-name=a --output=/b --time=00:01:00\n", "job-name"),
    ],
)
def test_a_script_that_is_no_job_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read_request(text.encode())


def test_a_script_names_its_interpreter_with_one_argument_like_the_kernel():
    text = "#! /usr/bin/env -S python3 -u\n#HPCLAUNCH --job-name=a --output=/b --time=00:01:00\n"
    assert read_request(text.encode()).interpreter == ("/usr/bin/env", "-S python3 -u")


@given(st.binary())
def test_any_script_is_read_or_refused_with_words(text):
    try:
        read_request(b"#!/bin/sh\n" + text)
    except ValueError as error:
        assert str(error)


numbers = st.none() | st.integers(0, 255)
words = st.sampled_from(["RUNNING", "COMPLETED", "CANCELLED"])
hosts = st.from_regex(r"[a-z0-9.-]{0,20}", fullmatch=True)


@given(st.integers(1), words, hosts, st.none() | st.floats(0, 1e11), numbers, numbers)
def test_a_status_line_is_read_back(job_id, word, host, ends, code, signal):
    row = Row(str(job_id), word, host, ends, code, signal, reason="a|b c")
    assert parse_rows(f"chatter\n{render_row(row)}\nmore|chatter\n") == [row]


@given(st.text())
def test_a_reason_stays_on_its_line(reason):
    line = render_row(Row("1", "FAILED", reason=reason))
    assert line.isascii() and "\n" not in line
    assert [row.word for row in parse_rows(line)] == ["FAILED"]


@given(st.text() | st.text(st.sampled_from("localjob|123.\n")))
def test_any_text_is_rows_or_none(text):
    parse_rows(text)
    statuses = LOCAL.parse_status(said(text), ["1", "2"])
    assert list(statuses) == ["1", "2"]


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("STARTING", JobState.STARTING),
        ("RUNNING", JobState.RUNNING),
        ("ENDING", JobState.ENDING),
        ("COMPLETED", JobState.DONE),
        ("FAILED", JobState.FAILED),
        ("CANCELLED", JobState.CANCELLED),
        ("TIMEOUT", JobState.TIMEOUT),
        ("NODE_FAIL", JobState.NODE_FAILED),
        ("ELSEWHERE", JobState.UNKNOWN),
        ("SOMETHING", JobState.UNKNOWN),
    ],
)
def test_every_word_has_its_meaning(word, state):
    row = render_row(Row("7", word, "laptop", 1e9, 3, 15, "why"))
    status = LOCAL.parse_status(said(row), ["7"])["7"]
    assert (status.state, status.word, status.reason) == (state, word, "why")
    assert (status.exit_code, status.signal) == (3, 15)


def test_an_id_that_localjob_does_not_know_is_lost_and_without_an_answer_unknown():
    assert LOCAL.parse_status(said(), ["7"])["7"].state is JobState.LOST
    silent = LOCAL.parse_status(said(exit=1, stderr="localjob: error: no space"), ["7"])["7"]
    assert silent.state is JobState.UNKNOWN
    assert "no space" in silent.reason


def test_the_id_of_a_new_job():
    assert LOCAL.parse_submit(said("chatter 12\nlocaljob|7\n")) == "7"


def test_a_refusal_is_a_submit_error_and_a_lost_id_is_not():
    with pytest.raises(SubmitError) as caught:
        LOCAL.parse_submit(said(exit=1, stderr="localjob: error: /x: Permission denied"))
    assert "Permission denied" in str(caught.value.said)
    with pytest.raises(SchedulerError) as caught_again:
        LOCAL.parse_submit(said("chatter 12\n"))
    assert not isinstance(caught_again.value, SubmitError)


def test_found_jobs_and_no_answer():
    assert LOCAL.parse_find(said("localjob|7\nlocaljob|9\n"), "a") == ["7", "9"]
    assert LOCAL.parse_find(said(), "a") == []
    with pytest.raises(SchedulerError):
        LOCAL.parse_find(said(exit=1), "a")


def test_a_cancel_that_failed_is_an_error():
    LOCAL.parse_cancel(said())
    with pytest.raises(SchedulerError) as caught:
        LOCAL.parse_cancel(said(exit=1, stderr="localjob: error: on another machine"))
    assert "another machine" in str(caught.value.said)
