"""From what is known of a session that is over to one clear error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import HpclaunchError, SessionFailed
from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.sessions.explain import Evidence, conclude
from tests.pure.records import record

STARTING: dict[str, Any] = {"submitting": 1.0, "job_id": "7", "session_dir": "/s"}
READY: dict[str, Any] = {**STARTING, "rendezvous": {"port": 8888}}
FAILURE = {"cause": "no-jupyterlab", "what": "no jupyterlab in /env", "hint": "install it"}
ENDED = {"state": "ended", "error": None}
WORDS = {
    JobState.CANCELLED: "was cancelled",
    JobState.TIMEOUT: "reached its walltime of 01:00:00",
    JobState.OUT_OF_MEMORY: "used more memory than it asked for",
    JobState.NODE_FAILED: "lost its node",
}


def job(state: JobState, word: str = "", **facts: Any) -> JobStatus:
    return JobStatus("7", state, word=word or state.name, **facts)


def told(facts: dict[str, Any], **evidence: Any) -> tuple[str, HpclaunchError]:
    """State and error of a session that failed, as they are read back from its record."""
    outcome = conclude(record(**facts), Evidence(**evidence))
    assert outcome["error"] is not None
    error = HpclaunchError.from_dict(outcome["error"])
    assert isinstance(error, SessionFailed)
    assert error.hint
    return outcome["state"], error


# A planned end


@pytest.mark.parametrize("facts", [STARTING, READY])
@pytest.mark.parametrize("state", list(JobState))
def test_what_the_user_stopped_has_ended_however_it_ended(facts, state):
    evidence = Evidence(failure=FAILURE, exit_code=1, job=job(state))
    assert conclude(record(**facts, stopping=True), evidence) == ENDED


@pytest.mark.parametrize("state", [JobState.DONE, JobState.LOST, JobState.UNKNOWN, JobState.ENDING])
def test_a_session_that_had_answered_and_left_by_itself_has_ended(state):
    assert conclude(record(**READY), Evidence(exit_code=0, job=job(state))) == ENDED
    assert conclude(record(**READY), Evidence(exit_code=0)) == ENDED


def test_why_it_left_is_told():
    evidence = Evidence(exit_code=0, ending={"cause": "idle", "what": "nobody used it"})
    assert conclude(record(**READY), evidence) == {**ENDED, "reason": "nobody used it"}


def test_a_session_at_its_walltime_has_ended_with_words():
    state, error = told(READY, exit_code=143, job=job(JobState.TIMEOUT))
    assert state == "ended"
    assert error.what == "job 7 of session big-1 on big reached its walltime of 01:00:00"
    assert "--walltime" in str(error.hint)


# An accident


@pytest.mark.parametrize("state", WORDS)
@pytest.mark.parametrize(("facts", "phase"), [(STARTING, " while it was starting"), (READY, "")])
def test_the_schedulers_verdict_is_told_in_words(state, facts, phase):
    outcome, error = told(facts, exit_code=143, job=job(state, reason="why"), log="last\nwords\n")
    assert WORDS[state] in error.what
    assert error.what.endswith(phase) and error.what.count("while it was starting") == bool(phase)
    assert error.said == f"{state.name} (why)"
    assert error.log == "last\nwords"
    assert outcome == ("ended" if state is JobState.TIMEOUT and facts is READY else "failed")


@pytest.mark.parametrize("state", WORDS)
def test_an_accident_is_no_planned_end_although_the_script_ended_with_0(state):
    outcome, _ = told(READY, exit_code=0, job=job(state))
    assert outcome == ("ended" if state is JobState.TIMEOUT else "failed")


@pytest.mark.parametrize("facts", [STARTING, READY])
def test_the_agents_own_words_are_told(facts):
    state, error = told(facts, failure=FAILURE, exit_code=4, job=job(JobState.FAILED, exit_code=4))
    assert state == "failed"
    assert error.what == "no jupyterlab in /env (job 7 of session big-1 on big)"
    assert error.hint == "install it"
    assert error.said == "FAILED exit code 4"


def test_the_last_words_of_the_program_that_failed_are_told():
    failure = {**FAILURE, "said": "ImportError: x"}
    _, error = told(STARTING, failure=failure, exit_code=4, log="line\n")
    assert error.log == "line\nImportError: x"


def test_a_failure_without_words_is_told_all_the_same():
    _, error = told(STARTING, failure={}, exit_code=4)
    assert "the agent gave up" in error.what and "hpclaunch logs big-1" in str(error.hint)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (127, "the environment 'default' has no working Python on the node"),
        (126, "the environment 'default' cannot be made on the node"),
        (1, "ended with exit code 1"),
    ],
)
def test_the_jobs_own_exit_code_is_told_in_words(code, words):
    state, error = told(STARTING, exit_code=code, job=job(JobState.FAILED))
    assert state == "failed"
    assert words in error.what and "job 7 of session big-1 on big" in error.what


def test_a_session_that_never_answered_has_failed_although_it_ended_with_0():
    state, error = told(STARTING, exit_code=0, job=job(JobState.DONE))
    assert state == "failed"
    assert error.what.endswith("ended with exit code 0 while it was starting")


@pytest.mark.parametrize("facts", [STARTING, READY])
def test_a_job_that_is_gone_without_a_word_is_lost(facts):
    state, error = told(facts, job=job(JobState.LOST))
    assert state == "lost"
    assert "is gone: the scheduler does not know it" in error.what


def test_the_jobs_own_files_speak_before_a_scheduler_that_forgot_it():
    assert told(STARTING, failure=FAILURE, job=job(JobState.LOST))[0] == "failed"
    assert told(STARTING, exit_code=5, job=job(JobState.LOST))[0] == "failed"


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd: error: Job 7 exceeded memory limit (900 > 800), being killed",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.",
        "[2026-11-26T03:26:35.048] error: StepId=7.batch exceeded memory limit (9 > 8)",
    ],
)
@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_too_much_memory_is_told_where_only_the_log_knows(state, line):
    _, error = told(READY, exit_code=137, job=job(state), log=f"x\n{line}\n")
    assert WORDS[JobState.OUT_OF_MEMORY] in error.what


def test_a_foreign_rendezvous_is_never_believed():
    _, error = told(STARTING, foreign=True, job=job(JobState.RUNNING))
    assert "another session" in error.what and "/s/rendezvous.json" in str(error.hint)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, None),
        (job(JobState.RUNNING, "RUNNING"), None),
        (JobStatus("7", JobState.UNKNOWN), None),
        (job(JobState.FAILED, "FAILED", reason="None", exit_code=1), "FAILED exit code 1"),
        (
            job(JobState.FAILED, "NODE_FAIL", reason="c1 down", signal=9),
            "NODE_FAIL (c1 down) signal 9",
        ),
    ],
)
def test_the_schedulers_own_words_are_kept(status, said):
    assert told(STARTING, exit_code=1, job=status)[1].said == said


statuses = st.none() | st.builds(
    JobStatus,
    id=st.just("7"),
    state=st.sampled_from(JobState),
    word=st.text(),
    reason=st.text(),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(0, 64),
)


@given(
    facts=st.sampled_from([STARTING, READY, {**STARTING, "job_id": None}]),
    stopping=st.booleans(),
    failure=st.none() | st.dictionaries(st.sampled_from(["what", "hint", "said"]), st.text()),
    exit_code=st.none() | st.integers(-5, 300),
    status=statuses,
    log=st.text(),
    foreign=st.booleans(),
)
def test_every_end_has_a_state_and_words_unless_it_was_planned(
    facts, stopping, failure, exit_code, status, log, foreign
):
    one = record(**facts, stopping=stopping)
    evidence = Evidence(failure=failure, exit_code=exit_code, job=status, log=log, foreign=foreign)
    outcome = conclude(one, evidence)
    assert outcome["state"] in ("ended", "failed", "lost")
    if outcome["state"] != "ended":
        lines = HpclaunchError.from_dict(outcome["error"]).lines()
        assert lines[0].startswith("error: ") and lines[-1].startswith("hint: ")
    assert outcome["state"] == "ended" or not stopping
