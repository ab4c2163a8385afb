"""orders.sh, order.sh and answer.sh: what a session asks for is read, done once, and answered."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from hpclaunch.sessions.errands import read_lists
from hpclaunch.sessions.record import Record
from tests.pure.records import record
from tests.pure.remote import command, run, tree, wait_for
from tests.pure.test_remote_await import Here

ACCEPT = ("sh", "-c", "cat; echo 4711; echo !! >&2")
"""A submit command that repeats the script."""


def sessions(folder: Path, count: int = 2) -> list[Record]:
    """Sessions with a directory for orders each, with a name that wants quoting."""
    found = []
    for number in range(count):
        directory = folder / f"it's $(session) {number}"
        (directory / "orders").mkdir(parents=True)
        found.append(record(name=f"s-{number}", session_dir=str(directory)))
    return found


def orders(one: Record) -> Path:
    return Path(one.session_dir) / "orders"


def write(one: Record, content: str) -> None:
    (orders(one) / "new").write_text(content)
    (orders(one) / "new").rename(orders(one) / "list.json")


def news(
    shell: str, records: list[Record], known: list[str] | None = None, limit: int = 0
) -> tuple[list[str], list[str]]:
    return read_lists(Here(shell), records, known or [""] * len(records), limit=limit, tick=0.05)


# What is asked for


def test_lists_are_read_where_they_have_changed(shell, tmp_path):
    records = sessions(tmp_path)
    known, texts = news(shell, records)
    assert texts == ["", ""]
    assert news(shell, records, known) == (known, ["", ""])
    write(records[1], '{"a": "</x>\n<y 0>"}')
    again, texts = news(shell, records, known)
    assert texts == ["", '{"a": "</x>\n<y 0>"}']
    assert again[0] == known[0] and again[1] != known[1]
    assert news(shell, records, again) == (again, ["", ""])


def test_a_new_list_ends_the_waiting_at_once(shell, tmp_path):
    records = sessions(tmp_path)
    known, _ = news(shell, records)
    timer = threading.Timer(0.5, write, (records[0], "{}"))
    timer.start()
    began = time.monotonic()
    assert news(shell, records, known, limit=30)[1] == ["{}", ""]
    assert time.monotonic() - began < 5


def test_a_session_without_orders_says_nothing(shell, tmp_path):
    records = sessions(tmp_path)
    orders(records[0]).rmdir()
    Path(records[0].session_dir).rmdir()
    assert news(shell, records)[1] == ["", ""]


def test_a_list_is_read_up_to_a_size(shell, tmp_path):
    records = sessions(tmp_path, 1)
    write(records[0], "x" * 10**6)
    assert len(news(shell, records)[1][0]) == 2**18


@pytest.mark.parametrize("what", ["link", "pipe", "directory", "link above"])
def test_only_a_plain_file_is_read(shell, tmp_path, what):
    """A link could lead anywhere, and a pipe would keep us waiting."""
    records = sessions(tmp_path, 1)
    file, secret = orders(records[0]) / "list.json", tmp_path / "secret"
    secret.mkdir()
    (secret / "list.json").write_text("secret")
    if what == "link":
        file.symlink_to(secret / "list.json")
    elif what == "pipe":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()
    else:
        orders(records[0]).rmdir()
        orders(records[0]).symlink_to(secret)
    began = time.monotonic()
    assert news(shell, records)[1] == [""]
    assert time.monotonic() - began < 5


# What is done


def order(shell: str, one: Record, number: str, *words: str, stdin: bytes = b"script\n"):
    return run(shell, "order.sh", one.session_dir, number, *words, stdin=stdin)


def test_an_order_is_carried_out_once(shell, tmp_path):
    (one,) = sessions(tmp_path, 1)
    first = order(shell, one, "7", *ACCEPT)
    assert (first.returncode, first.stdout) == (0, b"submitted 0\nscript\n4711\n")
    assert first.stderr == b"!!\n"
    again = order(shell, one, "7", "sh", "-c", "touch submitted-again")
    assert (again.returncode, again.stdout) == (0, b"before 0\nscript\n4711\n")
    assert again.stderr == b"!!\n"
    assert not (orders(one) / "submitted-again").exists()
    modes = tree(orders(one))
    assert modes == {"7": 0o700, "7/exit": 0o600, "7/stdout": 0o600, "7/stderr": 0o600}


def test_a_refusal_is_kept_too(shell, tmp_path):
    (one,) = sessions(tmp_path, 1)
    said = order(shell, one, "7", "sh", "-c", "echo no >&2; exit 3")
    assert (said.stdout, said.stderr) == (b"submitted 3\n\n", b"no\n")
    again = order(shell, one, "7", *ACCEPT)
    assert (again.stdout, again.stderr) == (b"before 3\n\n", b"no\n")


def test_an_order_that_was_taken_back_is_not_carried_out(shell, tmp_path):
    (one,) = sessions(tmp_path, 1)
    (orders(one) / "7").mkdir()
    assert order(shell, one, "7", "touch", "done").stdout == b"open\n"
    assert not (orders(one) / "done").exists()


def test_of_many_at_once_one_submits(shell, tmp_path):
    (one,) = sessions(tmp_path, 1)
    count = tmp_path / "count"
    line = command(shell, "order.sh", one.session_dir, "7", "sh", "-c", f"echo x >>'{count}'")
    many = [subprocess.Popen(line, stdout=subprocess.PIPE, stdin=-3) for _ in range(8)]
    answers = sorted(process.communicate()[0].split()[0] for process in many)
    assert count.read_text() == "x\n"
    assert answers.count(b"submitted") == 1


def test_a_submit_goes_on_when_the_connection_breaks(shell, tmp_path):
    """Its answer lies there for the next try, and for the session."""
    (one,) = sessions(tmp_path, 1)
    line = command(
        shell, "order.sh", one.session_dir, "7", "sh", "-c",
        "touch begun; while [ ! -e ../go ]; do sleep 0.1; done; echo 4711",
    )  # fmt: skip
    broken = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    wait_for((orders(one) / "begun").exists)
    assert broken.stdout is not None
    broken.stdout.close()
    assert order(shell, one, "7", *ACCEPT).stdout == b"open\n"
    (Path(one.session_dir) / "go").touch()
    broken.wait(20)
    assert order(shell, one, "7", *ACCEPT).stdout == b"before 0\n4711\n"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_workers_have_the_users_own_umask(shell, tmp_path, umask):
    (one,) = sessions(tmp_path, 1)
    done = subprocess.run(
        command(shell, "order.sh", one.session_dir, "7", "sh", "-c", "umask"),
        input=b"", capture_output=True, umask=umask,
    )  # fmt: skip
    assert int(done.stdout.split()[2], 8) == umask
    assert {mode for path, mode in tree(orders(one)).items() if "/" in path} == {0o600}


@pytest.mark.parametrize("number", ["", "..", "7/../..", "x", "-1", "7 8", "7\n8"])
def test_what_is_no_number_is_no_order(shell, tmp_path, number):
    (one,) = sessions(tmp_path, 1)
    assert order(shell, one, number, *ACCEPT).returncode == 75
    assert tree(orders(one)) == {}


@pytest.mark.parametrize("kind", ["link", "missing"])
def test_orders_stay_in_their_directory(shell, tmp_path, kind):
    (one,) = sessions(tmp_path, 1)
    orders(one).rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        orders(one).symlink_to(elsewhere)
    assert order(shell, one, "7", "touch", "done").returncode == 75
    assert run(shell, "answer.sh", one.session_dir, stdin=b"{}").returncode == 1
    assert tree(elsewhere) == {}


# What is answered


def test_answers_come_whole_and_private(shell, tmp_path):
    (one,) = sessions(tmp_path, 1)
    for text in (b'{"done": 1}', b'{"done": 2}' * 1000):
        assert run(shell, "answer.sh", one.session_dir, stdin=text).returncode == 0
        assert (orders(one) / "answers.json").read_bytes() == text
    assert tree(orders(one)) == {"answers.json": 0o600}


def test_a_planted_link_is_replaced_and_not_followed(shell, tmp_path):
    (one,) = sessions(tmp_path, 1)
    (tmp_path / "mine").write_text("mine")
    (orders(one) / "answers.json").symlink_to(tmp_path / "mine")
    run(shell, "answer.sh", one.session_dir, stdin=b"{}")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (orders(one) / "answers.json").read_text() == "{}"
