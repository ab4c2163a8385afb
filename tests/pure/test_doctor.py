"""The report for the help desk: what is a problem, and what it never shows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.doctor.finding import Finding, Report, fault, fine, untold
from hpclaunch.doctor.login import Place, examine_login
from hpclaunch.doctor.redact import Redactor
from hpclaunch.errors import LoginRefusedError
from hpclaunch.sessions.book import Book
from hpclaunch.sites.catalog import load

NOBODY = Redactor({})


def place(**facts: Any) -> Place:
    told = {
        "host": "vm",
        "room": "72719900 32%",
        "files": "16077853 5%",
        "writable": "yes",
        "mode": "drwx------",
    }
    return Place({**told, **facts}, "/home/alice/.hpclaunch", answer=0.01)


def findings(seen: Place) -> dict[str, Finding]:
    """Of site local: nobody is asked."""
    return {one.key: one for one in examine_login(None, Book(), load("local"), seen)}  # type: ignore[arg-type]


def test_nothing_is_wrong_on_a_good_site():
    assert {one.result for one in findings(place()).values()} == {"ok"}


@pytest.mark.parametrize(
    ("facts", "key", "words"),
    [
        ({"writable": "mktemp: Disk quota exceeded "}, "place", "Disk quota exceeded"),
        ({"mode": "drwxr-xr-x"}, "place", "others can look into"),
        ({"room": "1000 100%"}, "room", "0.0 GB and 16077853 files are free"),
        ({"files": "12 100%"}, "room", "12 files are free"),
    ],
)
def test_what_is_wrong_has_a_next_step(facts, key, words):
    found = findings(place(**facts))[key]
    assert found.result == "problem"
    assert words in found.found
    assert found.next


def test_a_place_that_is_not_known_is_not_judged():
    assert findings(replace(place(), base=None))["place"].result == "unknown"


def test_file_systems_that_count_no_files_are_not_full():
    assert findings(place(files="0 -"))["room"].result == "ok"
    assert findings(place(room="", files=""))["room"].result == "unknown"


def test_an_exceeded_quota_is_told():
    line = "lustre:/home 1048000* 1000000 1100000"
    found = findings(replace(place(), quota=(line,)))["quota"]
    assert (found.result, found.found) == ("problem", f"exceeded: {line}")
    assert findings(replace(place(), quota=("nfs:/home 10 100 100",)))["quota"].result == "ok"


def test_a_slow_login_node_is_a_problem():
    assert findings(replace(place(), answer=5.0))["latency"].result == "problem"


REPORT = Report(
    "0.1.0",
    "big",
    "2026-11-25T20:00:00Z",
    [
        fine("laptop", "ssh", "OpenSSH_9.2p1"),
        untold("login node", "login by", "the host does not say"),
        fault(
            "login node",
            "connection",
            LoginRefusedError("alice@big did not let us in", said="Permission denied\n(publickey)"),
            "ask",
        ),
    ],
)
TEXT = """\
hpclaunch 0.1.0 doctor, site big, 2026-11-25T20:00:00Z

laptop
  ok       ssh         OpenSSH_9.2p1

login node
  unknown  login by    the host does not say
  problem  connection  <user>@big did not let us in: Permission denied (publickey)
                       next: ask

1 problem"""


def test_the_report_as_text():
    assert REPORT.has_problem
    assert REPORT.text(Redactor({"alice": "<user>"})) == TEXT
    assert Report("0", "big", "", REPORT.findings[:1]).text(NOBODY).endswith("no problem")


def test_the_report_as_a_document():
    document = json.loads(json.dumps(REPORT.to_dict(Redactor({"alice": "<user>"}))))
    assert document["site"] == "big"
    assert document["lines"][2] == {
        "area": "login node",
        "key": "connection",
        "result": "problem",
        "found": "<user>@big did not let us in: Permission denied (publickey)",
        "next": "ask",
    }


def test_an_error_brings_its_hint_along():
    found = fault("job", "job", LoginRefusedError("no", hint="do this"))
    assert found.next == "do this"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("http://127.0.0.1:4711/lab?token=abcDEF123", "http://127.0.0.1:4711/lab?token=<secret>"),
        ("Authorization: token s3cr3t", "Authorization: <secret>"),
        ("password = hunter2", "password = <secret>"),
        ("https://me:pw@host/x", "https://<user>@host/x"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY----- x", "<key> x"),
        ("cut off -----BEGIN RSA PRIVATE KEY-----\nMIIB", "cut off <key>"),
        ("/home/alice/.hpclaunch", "~/.hpclaunch"),
        ("bob.b@login1: Permission denied", "<user>@login1: Permission denied"),
        ("alice@big, malice, alice2", "<user>@big, malice, alice2"),
    ],
)
def test_secrets_and_names_are_taken_out(text, redacted):
    assert Redactor({"alice": "<user>", "/home/alice": "~"})(text) == redacted


@given(
    token=st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=12),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_a_known_token_never_comes_through(token, before, after):
    assert token not in Redactor({}, [token])(before + token + after)
