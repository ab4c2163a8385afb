"""What the keeper believes of a session's end, and what it does then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hpclaunch.errors import TransportError
from hpclaunch.keeper.watch import Watch
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record
from hpclaunch.shell import Completed
from tests.pure.records import record

pytestmark = pytest.mark.pure


class Site:
    """A site whose answers a test rules: a transport that runs nothing.

    Attributes
    ----------
    queue, accounting : dict
        Job id to state, as squeue and sacct tell it; by the word that follows the command.
    silent : bool
        Whether the scheduler gives no answer.
    directories : list of str
        Names below ``sessions``; None where the file system does not answer.
    ran : list of str
        What was run, in a word or two.
    """

    def __init__(self) -> None:
        self.queue: dict[str, dict[str, str]] = {}
        self.accounting: dict[str, str] = {}
        self.silent = False
        self.gone = False
        self.ran: list[str] = []

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        if argv[0] == "/bin/sh":
            return self._script(argv)
        words = [word for word in argv[1:] if "=" not in word or word.startswith("--")]
        program = next(word for word in words if word in ("squeue", "sacct", "scancel"))
        self.ran.append(program)
        if self.silent:
            return Completed.of(argv, 1, "", "slurm_load_jobs error: Unable to contact controller")
        cluster = next((word for word in argv if word.startswith("--clusters=")), "")
        if program == "squeue" and "--me" in argv:
            return Completed.of(argv, 0, "", "")
        asked = next((w for w in argv if w.startswith("--jobs=")), "--jobs=").partition("=")[2]
        rows = []
        for job in asked.split(","):
            if program == "squeue" and (state := self.queue.get(cluster, {}).get(job)):
                rows.append(f"{job}|{state}|N/A|N/A|c1|None")
            if program == "sacct" and (state := self.accounting.get(job)):
                rows.append(f"{job}|{state}|0:0|Unknown|Unknown|c1|None")
        return Completed.of(argv, 0, "\n".join(rows) + "\n", "")

    def _script(self, argv: Sequence[str]) -> Completed:
        name = argv[3]
        self.ran.append(name)
        if name == "await.sh":
            return Completed.of(argv, 0, f"known {'+gone,' if self.gone else ','}\n", "")
        return Completed.of(argv, 0, "0\n" if name == "tail.sh" else "", "")


class Link:
    """The keeper's connection, always there."""

    def __init__(self, site: Site) -> None:
        self.transport = site
        self.up = threading.Event()
        self.up.set()

    def doubt(self) -> None:
        raise TransportError("nobody should doubt it")


class Tunnels:
    """No tunnels."""

    def is_open(self, name: str) -> bool:
        return False

    def close(self, name: str) -> None:
        """Nothing to close."""


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def watch(site: Site, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr("hpclaunch.keeper.watch._LAST_WORDS", 0.2)  # this site has said them all
    return Watch(Book(), Link(site), Tunnels())  # type: ignore[arg-type]


def put(watch: Watch, name: str, job_id: str, **facts: Any) -> Callable[[], Record]:
    """A session that runs, under watch; returns how it is read."""
    book = Book()
    base = "/home/me/.hpclaunch"
    one = record(
        name=name,
        job_id=job_id,
        submitting=1.0,
        base=base,
        session_dir=f"{base}/sessions/{name}",
        job={"state": "running"},
        **facts,
    )
    book.create(one)
    book.keep_secrets(name, one.nonce, b"ca", "token")
    watch.adopt(name)
    return lambda: book.read(name)


def ask(watch: Watch) -> None:
    """The next query of the scheduler, now."""
    for watched in watch._register.all():
        watched.next_query = 0.0
    watch._queue.ask()


def test_a_job_that_one_query_hides_is_not_given_up(watch: Watch, site: Site) -> None:
    """The queue forgot it twice, the accounting says that it runs: nothing is cancelled."""
    read = put(watch, "one", "7")
    site.accounting["7"] = "RUNNING"
    for _ in range(4):
        ask(watch)
    assert read().outcome is None
    assert "scancel" not in site.ran
    assert watch.names() == ["one"]


def test_a_job_that_is_gone_everywhere_is_lost(watch: Watch, site: Site) -> None:
    read = put(watch, "one", "7")
    for _ in range(4):
        ask(watch)
    assert read().state == "lost"
    assert {"scancel", "clean.sh"} <= set(site.ran)


def test_clusters_of_one_login_are_asked_each_for_its_own_jobs(watch: Watch, site: Site) -> None:
    """The same number may be a job of both."""
    profile = record().profile
    profiles = {
        name: {**profile, "scheduler": {**profile["scheduler"], "options": [f"--clusters={name}"]}}
        for name in ("a", "b")
    }
    read = {name: put(watch, name, "7", profile=profiles[name]) for name in profiles}
    site.queue = {"--clusters=a": {"7": "PENDING"}, "--clusters=b": {"7": "RUNNING"}}
    for _ in range(3):
        ask(watch)
    assert {name: one().job["state"] for name, one in read.items()} == {
        "a": "queued",
        "b": "running",
    }
    assert all(one().outcome is None for one in read.values())


def test_a_scheduler_silent_at_the_end_leaves_word_of_what_may_be_left(
    watch: Watch, site: Site
) -> None:
    """The secrets go all the same, and `stop` knows that there is something to do."""
    read = put(watch, "one", "7")
    site.silent = True
    watch._conclude(watch._register.all()[0])
    outcome = read().outcome
    assert outcome is not None and "Slurm did not say" in outcome["untidy"]
    assert "clean.sh" in site.ran


def test_a_directory_that_cannot_be_seen_once_is_looked_for_again(watch: Watch, site: Site) -> None:
    read = put(watch, "one", "7", rendezvous={"nonce": record().nonce})
    watched = watch._register.all()[0]
    watched.fresh_since = 0.0
    site.queue = {"": {"7": "RUNNING"}}
    site.gone = True
    watch._files.settled()
    assert read().outcome is None
    site.gone = False
    watch._files.settled()
    site.gone = True
    watch._files.settled()
    assert read().outcome is None
    watch._files.settled()
    assert read().outcome is not None, "twice in a row is believed"


def test_a_queued_session_is_reachable_again_when_the_link_is(watch: Watch, site: Site) -> None:
    """No tunnel has to be opened for it first."""
    read = put(watch, "one", "7")
    watch.link_down("the connection to big was lost")
    assert read().state == "unreachable"
    watch.link_up()
    assert read().trouble is None
