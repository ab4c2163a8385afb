"""What `stop` does with sessions that are over, and when it fails itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hpclaunch.errors import SchedulerError
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.stop import stop
from hpclaunch.shell import Completed
from tests.pure.records import record

pytestmark = pytest.mark.pure


class Keeper:
    """A conversation whose site answers as a test says.

    Attributes
    ----------
    scheduler : str
        What squeue and scancel print on stderr, with exit code 1; empty where all is well.
    done : list of str
        What it was asked to do.
    """

    def __init__(self, scheduler: str = "") -> None:
        self.scheduler = scheduler
        self.done: list[str] = []

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        if argv[0] == "/bin/sh":
            self.done.append(" ".join([argv[3], *argv[5:7]]))
            return Completed.of(argv, 0, "never\n", "")
        program = next(word for word in argv if word in ("squeue", "sacct", "scancel"))
        self.done.append(program)
        return Completed.of(argv, bool(self.scheduler), "", self.scheduler)

    def adopt(self, name: str) -> None:
        self.done.append(f"adopt {name}")

    def release(self, name: str) -> None:
        self.done.append(f"release {name}")


def put(book: Book, **facts: Any) -> None:
    base = "/home/me/.hpclaunch"
    known = {"base": base, "session_dir": f"{base}/sessions/big-1-x", "submitting": 1.0}
    one = record(**{**known, **facts})
    book.create(one)
    book.keep_secrets(one.name, one.nonce, b"ca", "token")


def end(book: Book, keeper: Keeper) -> None:
    stop(lambda: keeper, book, book.read("big-1"), lambda _: None)  # type: ignore[arg-type,return-value]


def test_what_a_failed_session_left_is_removed_once() -> None:
    book, keeper = Book(), Keeper()
    put(book, job_id="7", outcome={"state": "failed", "error": None})
    end(book, keeper)
    assert keeper.done == ["clean.sh big-1-x all"]
    end(book, keeper)
    assert keeper.done == ["clean.sh big-1-x all"], "nobody is asked again"
    assert not (book.directory("big-1") / "token").exists()


def test_what_could_not_be_cancelled_then_is_cancelled_now() -> None:
    book, keeper = Book(), Keeper()
    put(book, job_id="7", outcome={"state": "ended", "error": None, "untidy": "no answer"})
    end(book, keeper)
    assert "scancel" in keeper.done and keeper.done[-1] == "clean.sh big-1-x all"
    assert book.read("big-1").untidy is None


def test_a_stop_that_fails_leaves_the_session_as_it_was() -> None:
    book, keeper = Book(), Keeper("slurm_load_jobs error: Unable to contact slurm controller")
    put(book, job_id="7", job={"state": "running"})
    with pytest.raises(SchedulerError):
        end(book, keeper)
    assert not book.read("big-1").stopping
    assert keeper.done[-1] == "adopt big-1"


def test_a_submit_that_came_meanwhile_is_not_forgotten() -> None:
    """`stop` read the record before the other program sent its submit."""
    book, keeper = Book(), Keeper()
    put(book, submitting=None)
    before = book.read("big-1")
    book.update("big-1", before.nonce, submitting=1.0, job_id="7")
    stop(lambda: keeper, book, before, lambda _: None)  # type: ignore[arg-type,return-value]
    assert "scancel" in keeper.done
    assert book.read("big-1").state == "ended"
