"""await.sh, and the reading of what it prints: news of sessions, as soon as there is any."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.sessions.access import read_words
from hpclaunch.sessions.record import Record
from hpclaunch.shell import Completed
from tests.pure.records import record
from tests.pure.remote import run


class Here:
    """A `Runner` that runs remote scripts on this machine, by a certain shell."""

    def __init__(self, shell: str) -> None:
        self.shell = shell

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        _, _, _, name, *arguments = argv
        said = run(self.shell, name, *arguments, stdin=stdin)
        assert said.stderr == b""
        return Completed.of(argv, said.returncode, said.stdout.decode(errors="replace"))


def sessions(folder: Path, count: int = 2) -> list[Record]:
    """Sessions with a directory each, with a name that wants quoting."""
    found = []
    for number in range(count):
        directory = folder / f"it's $(session) {number}"
        directory.mkdir()
        found.append(record(name=f"s-{number}", session_dir=str(directory)))
    return found


def say(one: Record, name: str, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (Path(one.session_dir) / name).write_text(text)


def news(
    shell: str, records: list[Record], known: list[str] | None = None, limit: int = 0
) -> tuple[list[str], list[dict[str, dict[str, Any]]]]:
    return read_words(Here(shell), records, known or [""] * len(records), limit=limit, tick=0.05)


def test_silence_is_no_news(shell, tmp_path):
    assert news(shell, sessions(tmp_path)) == (["", ""], [{}, {}])


def test_every_word_of_every_session_is_read(shell, tmp_path):
    records = sessions(tmp_path, 3)
    say(records[0], "rendezvous.json", {"port": 1})
    say(records[2], "failure.json", {"what": "</x> <y>\n"})
    say(records[2], "exit.json", {"exit": 5})
    known, words = news(shell, records)
    assert known == ["+rendezvous.json", "", "+failure.json+exit.json"]
    assert words == [
        {"rendezvous.json": {"port": 1}},
        {},
        {"failure.json": {"what": "</x> <y>\n"}, "exit.json": {"exit": 5}},
    ]


def test_what_is_known_is_no_news(shell, tmp_path):
    records = sessions(tmp_path)
    say(records[0], "rendezvous.json", {})
    known, _ = news(shell, records)
    began = time.monotonic()
    assert news(shell, records, known, limit=2)[0] == known
    assert 0.9 < time.monotonic() - began < 10


def test_news_end_the_waiting_at_once(shell, tmp_path):
    records = sessions(tmp_path)
    timer = threading.Timer(0.5, say, (records[1], "rendezvous.json", {"port": 2}))
    timer.start()
    began = time.monotonic()
    known, words = news(shell, records, limit=30)
    assert time.monotonic() - began < 5
    assert known == ["", "+rendezvous.json"]
    assert words[1] == {"rendezvous.json": {"port": 2}}


def test_a_directory_that_is_gone_is_told(shell, tmp_path):
    records = sessions(tmp_path)
    Path(records[0].session_dir).rmdir()
    assert news(shell, records)[0] == ["+gone", ""]


def test_a_filesystem_that_gives_no_answer_says_nothing(shell, tmp_path):
    """Then the directory above cannot be read either: the session is not gone."""
    (tmp_path / "sessions").mkdir()
    records = sessions(tmp_path / "sessions")
    (tmp_path / "sessions").rename(tmp_path / "elsewhere")
    assert news(shell, records, limit=0)[0] == ["", ""]


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", "null", '{"a": 1}}', "\x00"])
def test_what_is_no_json_object_is_left_out(shell, tmp_path, text):
    records = sessions(tmp_path)
    say(records[0], "exit.json", text)
    say(records[1], "exit.json", {"exit": 0})
    known, words = news(shell, records)
    assert known == ["+exit.json", "+exit.json"]
    assert words == [{}, {"exit.json": {"exit": 0}}]


def test_a_link_is_not_read(shell, tmp_path):
    records = sessions(tmp_path)
    say(records[0], "exit.json", {"exit": 0})
    (Path(records[1].session_dir) / "exit.json").symlink_to(
        Path(records[0].session_dir) / "exit.json"
    )
    assert news(shell, records)[1] == [{"exit.json": {"exit": 0}}, {}]


def test_other_files_are_none_of_our_business(shell, tmp_path):
    records = sessions(tmp_path)
    for name in ("xexit.json", "exit.jsonx", "a\nexit", "rendezvous", "$(gone)", "-l"):
        say(records[0], name, {})
    assert news(shell, records) == (["", ""], [{}, {}])


def test_the_marks_cannot_be_forged(shell, tmp_path):
    """A job of a user's own could only fool itself; the marks hold all the same."""
    records = sessions(tmp_path)
    say(records[0], "exit.json", json.dumps({"a": "\n</x>\n<x 1 exit.json>\n{}"}))
    assert news(shell, records)[1] == [{"exit.json": {"a": "\n</x>\n<x 1 exit.json>\n{}"}}, {}]
