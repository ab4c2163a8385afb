"""A session's state is derived from what is known, and never stored."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.sessions.record import State, as_of_text
from tests.pure.records import record

THERE = {"port": 8888, "hostname": "c1"}
SENT = {"submitting": 1.0}
RUNS = {**SENT, "job_id": "7", "job": {"state": "running"}}
READY = {**RUNS, "rendezvous": THERE, "tunnel": True, "port": 40000}


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "planned"),
        (SENT, "queued"),
        ({**SENT, "job_id": "7"}, "queued"),
        ({**SENT, "job_id": "7", "job": {"state": "queued"}}, "queued"),
        ({**SENT, "job_id": "7", "job": {"state": "held"}}, "queued"),
        ({**SENT, "job_id": "7", "job": {"state": "starting"}}, "queued"),
        ({**SENT, "job_id": "7", "job": {"state": "unknown"}}, "queued"),
        (RUNS, "starting"),
        ({**RUNS, "job": {"state": "suspended"}}, "starting"),
        ({**SENT, "rendezvous": THERE}, "starting"),
        (READY, "ready"),
        ({**READY, "job": {"state": "queued"}}, "ready"),
        ({**READY, "tunnel": False}, "starting"),
        ({**READY, "tunnel": False, "trouble": "no route"}, "unreachable"),
        ({**SENT, "trouble": "no route"}, "unreachable"),
        ({**READY, "trouble": "just now"}, "ready"),
        ({**RUNS, "job": {"state": "ending"}}, "ending"),
        ({**READY, "stopping": True}, "ending"),
        ({**SENT, "stopping": True, "trouble": "no route"}, "ending"),
        ({**READY, "outcome": {"state": "failed", "error": None}}, "failed"),
        ({**READY, "stopping": True, "outcome": {"state": "ended", "error": None}}, "ended"),
        ({"outcome": {"state": "lost", "error": None}}, "lost"),
    ],
)
def test_the_state_of_a_session(facts, state):
    one = record(**facts)
    assert one.state == state
    assert one.is_over == (state in ("ended", "failed", "lost"))


facts = st.fixed_dictionaries(
    {},
    optional={
        "submitting": st.none() | st.just(1.0),
        "job_id": st.none() | st.just("7"),
        "job": st.sampled_from(["queued", "running", "ending", "done", "?"]).map(
            lambda word: {"state": word}
        ),
        "rendezvous": st.none() | st.just(THERE),
        "tunnel": st.booleans(),
        "trouble": st.none() | st.just("no route"),
        "stopping": st.booleans(),
        "outcome": st.none()
        | st.sampled_from(["ended", "failed", "lost"]).map(lambda word: {"state": word}),
    },
)


@given(known=facts)
def test_every_session_has_one_of_the_contracts_states(known: dict[str, Any]):
    one = record(**known)
    assert one.state in get_args(State)
    assert one.is_over == bool(known.get("outcome"))
    if one.state == "ready":
        assert one.rendezvous and one.tunnel and not one.stopping


def test_the_address_carries_no_token():
    assert record().url is None
    assert record(port=40000).url == "http://127.0.0.1:40000"


def test_the_end_is_what_the_node_said():
    assert record().ends_at is None
    assert record(rendezvous={"ends_at": None}).ends_at is None
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert record(rendezvous={"ends_at": at.isoformat()}).ends_at == at
    there = record(rendezvous={"ends_at": "2026-11-23T12:00:00+02:00"}).ends_at
    assert there == at - timedelta(hours=2)


def test_when_the_site_was_heard_is_told_with_its_offset():
    assert as_of_text(record()) is None
    assert as_of_text(record(as_of=1_700_000_000.0)) == "2023-11-14T22:13:20+00:00"


def test_a_record_is_json_through_and_through():
    one = record(**READY)
    assert type(one)(**json.loads(json.dumps(dataclasses.asdict(one)))) == one
