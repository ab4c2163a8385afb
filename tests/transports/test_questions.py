"""What a person is asked on a terminal, over both SSH transports, and how often."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pexpect
import psutil
import pytest
from otp_server import OtpServer
from sshd_process import make_key, processes_with, wait_for

from hpclaunch.errors import LoginNeededError

pytestmark = pytest.mark.local


def test_nothing_is_asked_where_a_key_suffices(terminal, site) -> None:
    window = terminal(site)
    seen = window.see("said: I am in")
    assert "?" not in seen and "assword" not in seen
    window.leave()


def test_an_unknown_host_key_is_asked_for_once_and_remembered(terminal, site) -> None:
    site.known_hosts.write_text("")
    window = terminal(site)
    seen = window.see(r"\(yes/no/\[fingerprint\]\)\? ")
    shown = subprocess.check_output(
        ["ssh-keygen", "-l", "-f", site.sshd.host_key.with_suffix(".pub")], text=True
    ).split()[1]
    assert f"ED25519 key fingerprint is {shown}." in seen
    assert site.known_hosts.read_text() == ""
    window.answer("yes")
    window.see("said: I am in")
    window.leave()
    assert site.sshd.host_key_public().split()[1] in site.known_hosts.read_text()
    assert oct(site.known_hosts.stat().st_mode & 0o777) in ("0o600", "0o644")
    site.transport().close()
    site.connected()  # asks nothing, and would be refused if it had to
    assert len(site.known_hosts.read_text().splitlines()) == 1


def test_the_fingerprint_itself_is_an_answer(terminal, site) -> None:
    site.known_hosts.write_text("")
    shown = subprocess.check_output(
        ["ssh-keygen", "-l", "-f", site.sshd.host_key.with_suffix(".pub")], text=True
    ).split()[1]
    window = terminal(site)
    window.see(r"\(yes/no/\[fingerprint\]\)\? ")
    window.answer(shown)
    window.see("said: I am in")
    window.leave()


def test_no_is_no(terminal, site) -> None:
    site.known_hosts.write_text("")
    window = terminal(site)
    window.see(r"\(yes/no/\[fingerprint\]\)\? ")
    window.answer("no")
    window.see("HostKeyError")
    assert site.known_hosts.read_text() == ""
    assert site.sshd.logins() == 0


def test_a_changed_host_key_is_not_even_asked_for(terminal, site, tmp_path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    site.known_hosts.write_text(f"{site.sshd.name} {other[0]} {other[1]}\n")
    window = terminal(site)
    seen = window.see("HostKeyError")
    assert "yes/no" not in seen


def test_a_locked_key_asks_for_its_passphrase_once(terminal, site, tmp_path) -> None:
    site.key = make_key(tmp_path / "id_locked", "open sesame")
    site.sshd.authorize(site.key)
    site.write_config()
    window = terminal(site)
    window.see("assphrase for key .*: ")
    assert_no_secret_in_any_argv("sesame")
    window.answer("open sesame")
    seen = window.see("said: I am in")
    assert "sesame" not in seen  # not echoed
    window.leave()


@pytest.mark.parametrize("options", [("rsa",), ("ecdsa",), ("rsa", "-m", "PEM")])
def test_passphrases_of_all_kinds_of_keys(terminal, site, tmp_path, options) -> None:
    site.key = make_key(tmp_path / "id_locked", "open sesame", *options)
    site.sshd.authorize(site.key)
    site.write_config()
    window = terminal(site)
    window.see("assphrase for key .*: ")
    window.answer("wrong")
    window.see("assphrase for key .*: ")
    window.answer("open sesame")
    window.see("said: I am in")
    window.leave()


def assert_no_secret_in_any_argv(secret: str) -> None:
    for process in psutil.process_iter(["cmdline"]):
        assert not any(secret in word for word in process.info["cmdline"] or [])


@pytest.fixture
def otp(site, tmp_path) -> Iterator[OtpServer]:
    """The site's login node wants a key, then a password with a code that is good once."""
    server = OtpServer(
        site.sshd.host_key,
        ["publickey", "keyboard-interactive"],
        key=site.key,
        password="s3cret-word",
        codes=["111111", "222222"],
    )
    site.known_hosts.write_text(
        f"[127.0.0.1]:{server.port} {site.sshd.known_line.split(' ', 1)[1]}"
    )
    site.write_config("Host site", f"  Port {server.port}")
    yield server
    server.close()


def test_key_then_password_and_code_are_asked_once(terminal, site, otp) -> None:
    window = terminal(site)
    window.see(r"Password: ")
    assert_no_secret_in_any_argv("s3cret-word")
    window.answer("s3cret-word")
    window.see(r"One-time code: ")
    window.answer("111111")
    seen = window.see("said: I am in")
    assert "s3cret-word" not in seen
    if site.kind == "openssh":  # another process shares the connection without a question
        other = site.connected()
        assert [other.run(["echo", str(n)]).stdout for n in range(3)] == ["0\n", "1\n", "2\n"]
    window.leave()
    assert (otp.logins, otp.connections) == (1, 1)


def test_the_instructions_of_the_host_are_shown(terminal, site, otp) -> None:
    window = terminal(site)
    seen = window.see("Password: ")
    window.answer("s3cret-word")
    seen += window.see("code: ")
    assert "Use your token." in seen
    assert "Second factor" in seen


def test_a_wrong_code_may_be_given_again(terminal, site, otp) -> None:
    window = terminal(site)
    for code in ("999999", "111111"):
        window.see("Password: ")
        window.answer("s3cret-word")
        window.see("One-time code: ")
        window.answer(code)
    window.see("said: I am in")
    window.leave()


def test_three_wrong_answers_are_refused(terminal, site, otp) -> None:
    window = terminal(site)
    for _ in range(3):
        window.see("Password: ")
        window.answer("wrong")
        window.see("One-time code: ")
        window.answer("0")
    window.see("LoginRefusedError")
    assert otp.logins == 0


def test_a_code_is_needed_and_nobody_is_here(site, otp) -> None:
    with pytest.raises(LoginNeededError):
        site.connected()


def test_a_plain_password(terminal, site, otp) -> None:
    otp.factors[:] = ["password"]
    window = terminal(site)
    window.see("assword: ")
    window.answer("s3cret-word")
    window.see("said: I am in")
    window.leave()
    assert otp.logins == 1


def test_ctrl_c_at_a_question_leaves_nothing_behind(terminal, site, otp) -> None:
    window = terminal(site)
    window.see("Password: ")
    window.child.sendintr()
    window.see("interrupted")
    window.child.expect(pexpect.EOF)
    window.child.close()
    assert window.child.exitstatus == 130
    wait_for(lambda: not processes_with(str(site.control)), what="the end of all processes")
