"""What a command on the login node gets and gives, over both SSH transports."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sshd_process import wait_for

from hpclaunch.errors import CommandTimeout, TransportError
from hpclaunch.transports.base import Transport

pytestmark = pytest.mark.local


def test_words_arrive_as_they_are(site) -> None:
    words = ["a b", "$(id)", "it's", '"', "`id`", "\\", "*", "", "ü✓", "two\nlines", "-n"]
    done = site.connected().run(["printf", "%s\\0", *words])
    assert done.stdout.split("\0")[:-1] == words
    assert (done.exit, done.stderr) == (0, "")


def test_exit_status_and_both_streams(site) -> None:
    transport = site.connected()
    done = transport.run(["sh", "-c", "echo out; echo err >&2; exit 37"])
    assert (done.exit, done.stdout, done.stderr) == (37, "out\n", "err\n")
    assert transport.run(["sh", "-c", "kill -9 $$"]).exit == 137
    missing = transport.run(["no-such-command-here"])
    assert missing.exit == 127
    assert "not found" in missing.stderr


def test_binary_stdin_of_5_megabytes(site) -> None:
    payload = os.urandom(5_000_000)
    done = site.connected().run(["sha256sum"], stdin=payload)
    assert done.stdout.split()[0] == hashlib.sha256(payload).hexdigest()


def test_5_megabytes_come_back_while_as_many_go_in(site) -> None:
    payload = os.urandom(2_500_000).hex().encode()
    assert site.connected().run(["cat"], stdin=payload).stdout.encode() == payload


def test_a_command_that_ignores_its_stdin(site) -> None:
    assert site.connected().run(["echo", "done"], stdin=b"x" * 5_000_000).stdout == "done\n"


def test_no_stdin_is_an_empty_stdin(site) -> None:
    assert site.connected().run(["wc", "-c"]).stdout.strip() == "0"


def test_timeout_is_kept_and_the_connection_survives(site) -> None:
    transport = site.connected()
    began = time.monotonic()
    with pytest.raises(CommandTimeout) as caught:
        transport.run(["sleep", "30"], timeout=1.0)
    assert time.monotonic() - began < 15, "well before the command's own end"
    assert caught.value.command == ("sleep", "30")
    assert transport.run(["echo", "still"]).stdout == "still\n"
    assert site.sshd.logins() == 1


def test_a_process_left_in_the_background_does_not_keep_us(site) -> None:
    began = time.monotonic()
    done = site.connected().run(["sh", "-c", "sleep 60 & echo submitted"], timeout=50)
    assert done.stdout == "submitted\n"
    assert time.monotonic() - began < 20, "well before the end of what sleeps"


def test_20_commands_at_once(site) -> None:
    transport = site.connected()

    def one(number: int) -> str:
        return transport.run(["sh", "-c", "read x; echo $x", "sh"], stdin=b"%d\n" % number).stdout

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20))) == [f"{number}\n" for number in range(20)]
    assert site.sshd.logins() == 1


def test_a_site_with_few_sessions_is_waited_for(start_sshd, site_of, kind) -> None:
    site = site_of(start_sshd("MaxSessions 2"), kind)
    transport = site.connected()
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: transport.run(["echo", str(n)]).stdout, range(8)))
    assert said == [f"{number}\n" for number in range(8)]
    assert site.sshd.connections() == 1


NOISE = 'ForceCommand echo "Welcome!"; echo "Quota: 93%%" >&2; printf "no newline"; {}'


@pytest.mark.parametrize(
    "wrapper",
    [
        'eval "$SSH_ORIGINAL_COMMAND"',
        "eval $SSH_ORIGINAL_COMMAND",
        'bash -c "$SSH_ORIGINAL_COMMAND"; echo bye; echo bye >&2',
        'tcsh -c "$SSH_ORIGINAL_COMMAND"',
        'zsh -c "$SSH_ORIGINAL_COMMAND"',
    ],
)
def test_chatter_around_a_command_is_not_its_output(start_sshd, site_of, kind, wrapper) -> None:
    banner = "Banner none"
    site = site_of(start_sshd(banner, NOISE.format(wrapper)), kind)
    done = site.connected().run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=b"a\n\0b")
    assert (done.exit, done.stdout, done.stderr) == (3, "a\n\0b", "oops\n")


def test_a_banner_is_not_output(start_sshd, site_of, kind, tmp_path) -> None:
    (tmp_path / "banner").write_text("Authorised users only\n")
    site = site_of(start_sshd(f"Banner {tmp_path / 'banner'}"), kind)
    done = site.connected().run(["echo", "x"])
    assert (done.stdout, done.stderr) == ("x\n", "")


def test_a_login_shell_that_gives_up_is_told_in_its_own_words(start_sshd, site_of, kind) -> None:
    sshd = start_sshd('ForceCommand echo "This account is closed." >&2; exit 1')
    with pytest.raises(TransportError, match="did not run our command") as caught:
        site_of(sshd, kind).connected().run(["true"])
    assert caught.value.said == "This account is closed."


def test_prologue_runs_first_and_may_be_noisy_and_greedy(site) -> None:
    prologue = ("echo loading modules", "export MODULE='a b'", "cat  # reads all it can")
    transport = site.connected(prologue=prologue)
    done = transport.run(["sh", "-c", 'cat; echo "$MODULE"'], stdin=b"mine\n")
    assert (done.exit, done.stdout, done.stderr) == (0, "mine\na b\n", "")


def test_a_broken_prologue_is_an_error(site) -> None:
    transport = site.connected(prologue=(". /no/such/profile",))
    with pytest.raises(TransportError) as caught:
        transport.run(["true"])
    assert "/no/such/profile" in str(caught.value.said)


def test_commands_from_several_threads_while_one_times_out(site) -> None:
    transport: Transport = site.connected()
    failed = threading.Event()

    def slow() -> None:
        with pytest.raises(CommandTimeout):
            transport.run(["sleep", "20"], timeout=1)
        failed.set()

    threading.Thread(target=slow).start()
    for number in range(5):
        assert transport.run(["echo", str(number)]).stdout == f"{number}\n"
    wait_for(failed.is_set)
