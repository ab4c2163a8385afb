"""Which error ssh's own words mean. The logs are of OpenSSH 9.2 and 8.x, names changed."""

from __future__ import annotations

import pytest

from hpclaunch.errors import (
    HostKeyError,
    LoginNeededError,
    LoginRefusedError,
    TransportError,
    UnreachableError,
)
from hpclaunch.transports.words import connection_error

pytestmark = pytest.mark.pure

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
The fingerprint for the ED25519 key sent by the remote host is
SHA256:abc.
Offending ED25519 key in /home/me/.ssh/known_hosts:3
Host key for login.org has changed and you have requested strict checking.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("ssh: Could not resolve hostname login.org: Name or service not known", UnreachableError),
        ("ssh: connect to host login.org port 22: Connection refused", UnreachableError),
        ("ssh: connect to host login.org port 22: Connection timed out", UnreachableError),
        ("ssh: connect to host login.org port 22: No route to host", UnreachableError),
        ("ssh: connect to host login.org port 22: Network is unreachable", UnreachableError),
        ("Connection timed out during banner exchange", UnreachableError),
        ("kex_exchange_identification: Connection closed by remote host", UnreachableError),
        ("kex_exchange_identification: read: Connection reset by peer", UnreachableError),
        ("Connection closed by UNKNOWN port 65535", UnreachableError),
        ("Timeout, server login.org not responding.", UnreachableError),
        (CHANGED, HostKeyError),
        ("Host key verification failed.", HostKeyError),
        (
            "No ED25519 host key is known for login.org and you have requested strict checking.\n"
            "Host key verification failed.",
            HostKeyError,
        ),
        ("me@login.org: Permission denied (publickey).", LoginRefusedError),
        (
            "Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures\n"
            "Disconnected from 1.2.3.4 port 22",
            LoginRefusedError,
        ),
        ("me@login.org: Permission denied (publickey,password).", LoginNeededError),
        ("me@login.org: Permission denied (publickey,keyboard-interactive).", LoginNeededError),
        ("Unable to negotiate with 1.2.3.4 port 22: no matching cipher found.", TransportError),
    ],
)
def test_words_where_nobody_is_asked(log: str, expected: type[TransportError]) -> None:
    error = connection_error("login.org", log, asking=False, locked_key=False)
    assert type(error) is expected
    assert error.said == log.strip()
    assert "login.org" in error.what


def test_a_refusal_after_asking_is_a_refusal() -> None:
    log = "Permission denied, please try again.\nme@x: Permission denied (publickey,password)."
    error = connection_error("x", log, asking=True, locked_key=False)
    assert type(error) is LoginRefusedError
    assert "password, publickey" in error.what


def test_a_locked_key_explains_a_refusal_in_batch() -> None:
    log = "me@x: Permission denied (publickey)."
    assert type(connection_error("x", log, asking=False, locked_key=True)) is LoginNeededError
    assert type(connection_error("x", log, asking=True, locked_key=True)) is LoginRefusedError


def test_a_changed_key_is_not_called_unknown() -> None:
    error = connection_error("x", CHANGED, asking=True, locked_key=False)
    assert "not the one we know" in error.what
    assert "unknown" not in error.what


def test_every_error_has_a_next_step() -> None:
    for log in (
        "Connection refused",
        CHANGED,
        "Host key verification failed.",
        "Permission denied (a)",
    ):
        assert connection_error("x", log, asking=False, locked_key=False).hint
