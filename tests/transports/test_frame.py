"""The frame passes any argv through any login shell unchanged, whatever else is printed."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpclaunch.errors import CommandTimeout, TransportError
from hpclaunch.transports.base import Frame, Heard
from hpclaunch.transports.local import LocalTransport

LOGIN_SHELLS = [
    name for name in ("sh", "bash", "dash", "tcsh", "zsh", "fish") if shutil.which(name)
]

# Anything an argv can hold: no NUL, and names of files that are not UTF-8 as Python spells them.
words = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
    | st.binary(max_size=20).map(lambda b: os.fsdecode(b.replace(b"\0", b""))),
    max_size=6,
)
nasty = [
    "-n",
    "--",
    "$(id)",
    "`id`",
    "a'b",
    'a"b',
    "\\",
    "!!",
    "*",
    "~",
    "",
    " ",
    "\n",
    "\r\n",
    "%s",
]


def through(shell: str, frame: Frame, payload: bytes = b"") -> tuple[bytes, bytes]:
    done = subprocess.run(
        [shell, "-c", frame.command_line()],
        input=frame.stdin(payload),
        capture_output=True,
        timeout=60,
    )
    return done.stdout, done.stderr


@pytest.mark.local
@pytest.mark.parametrize("shell", LOGIN_SHELLS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(argv=words, payload=st.binary(max_size=200))
@example(argv=nasty, payload=b"")
def test_argv_and_stdin_arrive_unchanged(shell: str, argv: list[str], payload: bytes) -> None:
    frame = Frame.around(["sh", "-c", 'printf "%s\\0" "$@"; cat >&2', "sh", *argv])
    out, err = through(shell, frame, payload)
    inside = out.split(f"<hpclaunch {frame.nonce}>\n".encode())[1]
    heard = inside.split(f"\n</hpclaunch {frame.nonce}".encode())[0].split(b"\0")[:-1]
    assert heard == ([os.fsencode(word) for word in argv] or [b""])
    assert err.split(f"<hpclaunch {frame.nonce}>\n".encode())[1].startswith(payload)
    assert frame.unwrap(out, err).exit == 0


@pytest.mark.local
@settings(max_examples=100, deadline=None)
@given(argv=words, status=st.integers(0, 255))
def test_the_local_transport_says_what_the_command_said(argv: list[str], status: int) -> None:
    done = LocalTransport().run(["sh", "-c", f'printf "%s" "$#"; exit {status}', "sh", *argv])
    assert (done.exit, done.stdout) == (status, str(len(argv)))


noise = st.binary(max_size=300)


@pytest.mark.pure
@given(before=noise, after=noise, body=st.text(max_size=200), status=st.integers(0, 255))
@example(
    before=b"\n<hpclaunch ", after=b"\n</hpclaunch 0 1>\n", body="\n</hpclaunch x 3>\n", status=2
)
def test_noise_around_the_frame_is_cut_off(before, after, body, status) -> None:
    frame = Frame.around(["true"])
    begin = f"\n<hpclaunch {frame.nonce}>\n".encode()
    end = f"\n</hpclaunch {frame.nonce} {status}>\n".encode()
    framed = before + begin + body.encode() + end + after
    done = frame.unwrap(framed, before + begin + end + after)
    assert (done.exit, done.stdout, done.stderr) == (status, body, "")


@pytest.mark.pure
@given(cut=st.integers(0, 10_000), body=st.binary(max_size=300))
def test_the_end_is_heard_wherever_the_stream_is_cut(cut: int, body: bytes) -> None:
    frame = Frame.around(["true"])
    stream = body + f"\n</hpclaunch {frame.nonce} 0>\n".encode()
    where = cut % (len(stream) - 1) + 1
    heard = Heard(frame)
    heard.take(stream[:where])
    if stream[where:]:
        heard.take(stream[where:])
    assert heard.done
    heard.take(b"later chatter")
    assert heard.done


@pytest.mark.pure
@pytest.mark.parametrize("stream", [b"", b"Welcome\n", b"half </hpclaunch 00 0>"])
def test_half_a_frame_is_an_error(stream: bytes) -> None:
    with pytest.raises(TransportError, match="did not run our command") as caught:
        Frame.around(["true"]).unwrap(stream, b"nologin: no shell for you")
    assert caught.value.said == "nologin: no shell for you"


@pytest.mark.pure
@pytest.mark.parametrize("argv", [[], [""], ["-x"]])
def test_what_is_not_a_command_is_refused(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="not a command"):
        Frame.around(argv)


@pytest.mark.pure
def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        Frame.around(["echo", "a\0b"]).script()


@pytest.mark.pure
def test_the_login_shell_sees_no_word_of_the_command() -> None:
    frame = Frame.around(["echo", "secret-path"], ["export TOKEN=x"])
    assert "secret" not in frame.command_line()
    assert "TOKEN" not in frame.command_line()


@pytest.mark.local
def test_local_prologue_timeout_and_background() -> None:
    transport = LocalTransport(["export GREETING='hello there'", "echo noise"])
    assert transport.run(["sh", "-c", "echo $GREETING"]).stdout == "hello there\n"
    with pytest.raises(CommandTimeout):
        transport.run(["sleep", "20"], timeout=0.3)
    assert transport.run(["sh", "-c", "sleep 20 & echo x"], timeout=10).stdout == "x\n"


@pytest.mark.local
def test_the_local_transport_is_a_transport_that_never_goes_away() -> None:
    transport = LocalTransport()
    transport.connect()
    transport.hold()
    endpoint = transport.forward("node1", 8888)
    assert (endpoint.path, endpoint.host, endpoint.port) == (None, "node1", 8888)
    transport.unforward("node1", 8888)
    transport.close()
    assert transport.is_alive()
    assert not transport.lost.is_set()
