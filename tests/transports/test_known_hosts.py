"""Known hosts are read as OpenSSH reads them; ssh-keygen is asked where it can tell."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.transports.known_hosts import KnownHosts, Verdict, fingerprint, remember

pytestmark = pytest.mark.pure

ED = "ssh-ed25519"
KEY, OTHER = b"\0\0\0\x0bssh-ed25519" + b"k" * 36, b"\0\0\0\x0bssh-ed25519" + b"o" * 36


def line(names: str, blob: bytes = KEY, marker: str = "", kind: str = ED) -> str:
    return f"{marker} {names} {kind} {base64.b64encode(blob).decode()} a comment\n".lstrip()


def judge(tmp_path: Path, text: str, name: str = "login.org", kind: str = ED) -> Verdict:
    path = tmp_path / "known_hosts"
    path.write_text(text)
    return KnownHosts([tmp_path / "missing", path]).judge(name, kind, KEY)[0]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", Verdict.UNKNOWN),
        (line("login.org"), Verdict.KNOWN),
        (line("other.org"), Verdict.UNKNOWN),
        (line("login.org", OTHER), Verdict.CHANGED),
        (line("login.org", OTHER) + line("login.org"), Verdict.KNOWN),
        (line("login.org", b"rsa", kind="ssh-rsa"), Verdict.CHANGED),
        (line("a.org,login.org,1.2.3.4"), Verdict.KNOWN),
        (line("*.org"), Verdict.KNOWN),
        (line("log?n.org"), Verdict.KNOWN),
        (line("LOGIN.org"), Verdict.KNOWN),
        (line("*.org,!login.org"), Verdict.UNKNOWN),
        (line("!login.org,*.org"), Verdict.UNKNOWN),
        (line("login.org") + line("*", KEY, "@revoked"), Verdict.REVOKED),
        (line("*", KEY, "@revoked") + line("login.org"), Verdict.REVOKED),
        (line("*", OTHER, "@revoked") + line("login.org"), Verdict.KNOWN),
        (line("*.org", OTHER, "@cert-authority"), Verdict.AUTHORITY),
        (line("*.org", OTHER, "@cert-authority") + line("login.org"), Verdict.KNOWN),
        ("# " + line("login.org"), Verdict.UNKNOWN),
        ("login.org ssh-ed25519 not-base64\n", Verdict.UNKNOWN),
        ("login.org\n\n   \n", Verdict.UNKNOWN),
        (line("[login.org]:22"), Verdict.UNKNOWN),
    ],
)
def test_verdicts(tmp_path: Path, text: str, verdict: Verdict) -> None:
    assert judge(tmp_path, text) is verdict


def test_a_name_with_a_port_is_not_a_pattern(tmp_path: Path) -> None:
    assert judge(tmp_path, line("[login.org]:2222"), "[login.org]:2222") is Verdict.KNOWN
    assert judge(tmp_path, line("[*.org]:2222"), "[login.org]:2222") is Verdict.KNOWN
    assert judge(tmp_path, line("[login.org]:2222"), "l:2222") is Verdict.UNKNOWN


def test_the_place_of_the_deciding_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("# mine\n" + line("login.org", OTHER))
    assert KnownHosts([path]).judge("login.org", ED, KEY) == (Verdict.CHANGED, f"{path}:2")


def test_kinds_known_for_a_host(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(line("h", kind="ssh-rsa") + line("x") + line("h", KEY, "@revoked") + line("h"))
    assert KnownHosts([path]).kinds("h") == ["ssh-rsa", ED]


@pytest.mark.parametrize("hashed", [True, False])
def test_what_is_remembered_is_known_to_us_and_to_ssh_keygen(tmp_path: Path, hashed: bool) -> None:
    path = tmp_path / "new" / "known_hosts"
    remember(path, "[login.org]:2222", ED, KEY, hashed=hashed)
    remember(path, "second.org", ED, OTHER, hashed=hashed)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ("login.org" in path.read_text()) is not hashed
    known = KnownHosts([path])
    assert known.judge("[login.org]:2222", ED, KEY)[0] is Verdict.KNOWN
    assert known.judge("second.org", ED, OTHER)[0] is Verdict.KNOWN
    found = subprocess.run(
        ["ssh-keygen", "-F", "[login.org]:2222", "-f", str(path)], capture_output=True, text=True
    )
    assert base64.b64encode(KEY).decode() in found.stdout


def test_a_file_without_a_last_newline_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(line("a.org").rstrip("\n"))
    remember(path, "b.org", ED, KEY, hashed=False)
    known = KnownHosts([path])
    assert known.judge("a.org", ED, KEY)[0] is Verdict.KNOWN
    assert known.judge("b.org", ED, KEY)[0] is Verdict.KNOWN


def test_fingerprint_is_the_one_of_ssh_keygen(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", ED[4:], "-N", "", "-f", tmp_path / "k"], check=True)
    public = tmp_path / "k.pub"
    shown = subprocess.check_output(["ssh-keygen", "-l", "-f", public], text=True).split()[1]
    assert fingerprint(base64.b64decode(public.read_text().split()[1])) == shown


@given(st.text(max_size=200), st.text(max_size=20))
def test_no_file_is_so_damaged_that_it_raises(text: str, name: str) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix="hosts") as stream:
        stream.write(text + "\n" + line("login.org"))
        stream.flush()
        known = KnownHosts([Path(stream.name)])
        assert known.judge("login.org", ED, KEY)[0] in (Verdict.KNOWN, Verdict.REVOKED)
        known.judge(name, ED, KEY)
