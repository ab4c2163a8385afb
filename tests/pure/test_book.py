"""Session records on disk: private, whole, and safe from programs that write at once."""

from __future__ import annotations

import json
import multiprocessing
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from hpclaunch import paths
from hpclaunch.errors import NoSuchSession, SessionError, SessionExists
from hpclaunch.sessions.book import Book
from tests.pure.records import record

OVER = {"state": "ended", "error": None}
FAILED = {"state": "failed", "error": None}
NONCE = record().nonce


@pytest.fixture
def book() -> Book:
    return Book()


def put(book: Book, name: str = "big-1", **facts: Any) -> None:
    one = record(name=name, **facts)
    book.create(one)
    book.keep_secrets(name, one.nonce, b"the authority", f"token of {name}")


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.suffix != ".lock"
    }


def test_what_is_put_on_record_is_read_again(book):
    put(book)
    assert book.read("big-1") == record()
    assert book.token("big-1") == "token of big-1"
    assert book.authority("big-1") == b"the authority"
    assert [one.name for one in book] == ["big-1"]


def test_records_are_for_the_user_only(book):
    put(book)
    assert stat.S_IMODE(paths.state_dir().joinpath("sessions").stat().st_mode) == 0o700
    assert modes(book.folder) == {
        "big-1": 0o700,
        "big-1/ca.pem": 0o600,
        "big-1/record.json": 0o600,
        "big-1/token": 0o600,
    }


def test_secrets_are_kept_for_the_session_on_record_only(book):
    book.create(record())
    with pytest.raises(NoSuchSession):
        book.keep_secrets("big-1", "0" * 8, b"an authority", "a token")
    assert [file.name for file in book.directory("big-1").iterdir()] == ["record.json"]


def test_an_empty_book_is_no_error(book):
    assert list(book) == []
    assert book.free_name("big") == "big-1"
    with pytest.raises(NoSuchSession, match="no session 'x' here") as caught:
        book.read("x")
    assert caught.value.hint == "sessions on record: none"


def test_an_unknown_name_lists_the_known_ones(book):
    put(book, "a")
    put(book, "b")
    with pytest.raises(NoSuchSession) as caught:
        book.read("c")
    assert caught.value.hint == "sessions on record: a, b"


def test_a_fact_of_a_newer_release_is_left_out(book):
    put(book)
    file = book.directory("big-1") / "record.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "mood": "good"}))
    assert book.read("big-1") == record()


# Names


def test_a_live_session_keeps_its_name(book):
    put(book, submitting=1.0)
    with pytest.raises(SessionExists, match="'big-1' exists already \\(queued, site big\\)"):
        put(book)
    assert book.read("big-1").submitting == 1.0


@pytest.mark.parametrize("outcome", [OVER, FAILED, {"state": "lost", "error": None}])
def test_the_name_of_a_session_that_is_over_is_used_again(book, outcome):
    put(book, outcome=outcome)
    (book.directory("big-1") / "open.html").write_text("an old secret")
    book.create(record(nonce="ffffffff"))
    book.keep_secrets("big-1", "ffffffff", b"new", "new")
    assert book.read("big-1") == record(nonce="ffffffff")
    assert book.token("big-1") == "new"
    assert not (book.directory("big-1") / "open.html").exists()


def test_a_failed_session_keeps_its_name_from_new_ones_without_a_name(book):
    put(book, "big-1", outcome=OVER)
    put(book, "big-2", outcome=FAILED)
    put(book, "big-4")
    put(book, "other-1")
    assert book.free_name("big") == "big-1"
    put(book, "big-1")
    assert book.free_name("big") == "big-3"
    assert book.free_name("other") == "other-2"


# Updates


def test_an_update_changes_what_it_names_and_nothing_else(book):
    put(book, port=1)
    assert book.update("big-1", NONCE, job_id="7") == record(port=1, job_id="7")
    assert book.read("big-1") == record(port=1, job_id="7")


def test_an_update_that_changes_nothing_writes_nothing(book):
    put(book, port=1)
    file = book.directory("big-1") / "record.json"
    before = file.stat().st_ino
    book.update("big-1", NONCE, port=1)
    assert file.stat().st_ino == before
    book.update("big-1", NONCE, port=2)
    assert file.stat().st_ino != before


def test_another_session_of_the_same_name_is_not_touched(book):
    """A watcher that sleeps must not write into its successor's record."""
    put(book)
    with pytest.raises(NoSuchSession, match="no longer the same"):
        book.update("big-1", "ffffffff", port=1)
    book.remove("big-1", "ffffffff")
    assert book.read("big-1") == record()


def test_a_session_is_taken_off_the_record(book):
    put(book)
    book.remove("big-1", NONCE)
    assert list(book) == []
    with pytest.raises(NoSuchSession):
        book.update("big-1", NONCE, port=1)


def test_the_secrets_of_a_session_that_is_over_are_removed(book):
    put(book)
    (book.directory("big-1") / "open.html").touch()
    book.forget_secrets("big-1", NONCE)
    assert [path.name for path in book.directory("big-1").iterdir()] == ["record.json"]
    book.forget_secrets("big-1", NONCE)


# Several programs at once


def at_once(work: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run `work` in as many processes, all at the same time; what each returned."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager:
        gate = manager.Barrier(len(arguments))
        with spawn.Pool(len(arguments)) as pool:
            results = [pool.apply_async(work, (gate, *one)) for one in arguments]
            return [result.get(timeout=120) for result in results]


def keep_updating(gate: Any, folder: Path, key: str, values: list[Any]) -> list[bool]:
    book = Book(folder)
    gate.wait()
    return [getattr(book.update("big-1", NONCE, **{key: value}), key) == value for value in values]


def test_updates_from_many_programs_lose_nothing(book):
    put(book)
    numbers = [float(number) for number in range(40)]
    work = {
        "as_of": numbers,
        "ran_at": numbers,
        "port": [int(number) for number in numbers],
        "trouble": [f"trouble {number}" for number in numbers],
        "job": [{"state": f"{number}"} for number in numbers],
        "timings": [{"queue": number} for number in numbers],
    }
    seen = at_once(keep_updating, [(book.folder, key, values) for key, values in work.items()])
    assert all(all(one) for one in seen)
    assert book.read("big-1") == record(**{key: values[-1] for key, values in work.items()})


def try_to_create(gate: Any, folder: Path, nonce: str) -> bool:
    gate.wait()
    try:
        Book(folder).create(record(nonce=nonce))
    except SessionExists:
        return False
    Book(folder).keep_secrets("big-1", nonce, b"ca", nonce)
    return True


def test_one_of_many_programs_gets_a_name(book):
    nonces = [f"{number:08x}" for number in range(6)]
    won = at_once(try_to_create, [(book.folder, nonce) for nonce in nonces])
    assert won.count(True) == 1
    winner = nonces[won.index(True)]
    assert (book.read("big-1").nonce, book.token("big-1")) == (winner, winner)


def read_all_the_time(gate: Any, folder: Path, seconds: float) -> list[str]:
    gate.wait()
    seen: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen += [one.name for one in Book(folder)]
    return seen


def create_and_remove(gate: Any, folder: Path, seconds: float) -> list[str]:
    book, end = Book(folder), time.monotonic() + seconds
    gate.wait()
    while time.monotonic() < end:
        book.create(record())
        book.remove("big-1", NONCE)
    return []


def test_a_reader_is_not_disturbed_by_sessions_that_come_and_go(book):
    book.create(record(name="stays"))
    seen, _ = at_once(run_by_name, [("read", book.folder, 1.0), ("write", book.folder, 1.0)])
    assert set(seen) <= {"stays", "big-1"} and seen.count("stays") > 10


def run_by_name(gate: Any, what: str, folder: Path, seconds: float) -> Any:
    work = read_all_the_time if what == "read" else create_and_remove
    return work(gate, folder, seconds)


def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(book):
    put(book)
    put(book, "big-2")
    (book.directory("big-2") / "record.json").write_text("{")
    assert [one.name for one in book] == ["big-1"]
    assert book.free_name("big") == "big-3"
    (error,) = book.unreadable()
    assert "record of session 'big-2' cannot be read" in str(error)
    with pytest.raises(SessionError, match="big-2") as caught:
        book.read("big-2")
    assert "record.json" in str(caught.value.hint)


def test_secrets_of_a_later_session_of_the_name_are_kept(book):
    put(book)
    book.forget_secrets("big-1", "0" * 8)
    assert book.token("big-1") == "token of big-1"


def test_timings_of_several_programs_stand_side_by_side(book):
    put(book)
    book.update("big-1", NONCE, timings={"connect": 1.0, "submit": 2.0})
    changed = book.update("big-1", NONCE, timings={"submit": 3.0, "server": 4.0})
    assert changed.timings == {"connect": 1.0, "submit": 3.0, "server": 4.0}


def test_a_record_that_another_program_holds_for_long_is_an_error(book, monkeypatch):
    put(book)
    monkeypatch.setattr("hpclaunch.sessions.book._PATIENCE", 0.1)
    with FileLock(book.folder / ".big-1.lock"), pytest.raises(SessionError, match="has held"):
        book.update("big-1", NONCE, port=1)


UNTIDY = {**OVER, "untidy": "Slurm did not cancel the job"}


def test_a_session_that_may_have_left_something_is_not_forgotten(book):
    put(book, outcome=UNTIDY)
    assert book.free_name("big") == "big-2"
    with pytest.raises(SessionExists, match="may have left something") as caught:
        put(book, nonce="ffffffff")
    assert "hpclaunch stop big-1" in caught.value.hint


def test_only_what_was_never_submitted_is_taken_off_as_planned(book):
    put(book)
    book.update("big-1", NONCE, submitting=1.0)  # by another program, a moment before
    assert not book.remove("big-1", NONCE, planned_only=True)
    assert book.read("big-1").submitting == 1.0
    assert book.remove("big-1", NONCE)
