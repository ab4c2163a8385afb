"""How workers arrive, on a terminal: `scale` at a cluster that is made up, `start` for real."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hpclaunch.node.layout import CLUSTER_PAGE
from hpclaunch.sessions.book import Book
from tests.pure.plans import NONCE
from tests.pure.records import record
from tests.support.launch import Laptop
from tests.support.window import Window

pytestmark = pytest.mark.local

SOON = "2026-11-25T04:00:00"
HEADS = "JOB  STATE    REASON    EXPECTED START       WORKERS"


class Jupyter:
    """A session's server, of which only the page of its cluster is there.

    Attributes
    ----------
    jobs : list of dict
        The worker jobs; to be changed by the test.
    asked : list of dict
        What was asked for.
    """

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        jupyter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.path == CLUSTER_PAGE and self.headers["Authorization"] == "token t0"
                self.send_response(200 if wanted else 403)
                self.end_headers()
                self.wfile.write(json.dumps({"cluster": jupyter.document()}).encode())

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                jupyter.asked.append(json.loads(self.rfile.read(length)))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def document(self) -> dict[str, Any]:
        """As `BatchCluster.document` describes it."""
        jobs = list(self.jobs)
        return {
            "scheduler": "tls://10.1.2.3:4567",
            "workers": self.asked[-1].get("workers"),
            "adaptive": None if "workers" in self.asked[-1] else self.asked[-1],
            "present": sum(job["workers"] for job in jobs),
            "jobs": jobs,
            "problem": None,
            "waits": None,
            "threads": 1,
            "memory": 10**9,
            "job_memory": 2 * 10**9,
        }


def job(
    number: int, state: str, workers: int = 0, reason: str = "", start: str | None = None
) -> Any:
    return {
        "id": str(number), "name": f"w{number}", "state": state, "reason": reason,
        "expected_start": start, "workers": workers,
    }  # fmt: skip


@pytest.fixture
def jupyter() -> Iterator[Jupyter]:
    one = Jupyter()
    yield one
    one.server.shutdown()
    one.server.server_close()


Opens = Callable[..., Window]


@pytest.fixture
def scale(jupyter: Jupyter, laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opens]:
    """Open a window in which `scale big-1 N` runs, of a session that is on record."""
    monkeypatch.setenv("HPCLAUNCH_HOME", str(laptop.home))
    book = Book()
    book.create(
        record(
            dask={"mode": "jobqueue", "workers": 0}, submitting=1.0, job_id="7", tunnel=True,
            rendezvous={"hostname": "c1"}, job={"state": "running"},
            port=jupyter.server.server_address[1],
        )
    )  # fmt: skip
    book.keep_secrets("big-1", NONCE, b"", "t0")

    def opens(*words: str, argv: tuple[str, ...] = (), **environment: str) -> Window:
        inherited = without_wishes(laptop)
        command = [*argv, *laptop.argv("scale", "big-1", *words)]
        return Window(command, {**inherited, "TERM": "xterm", **environment}, width=130)

    yield opens
    book.update("big-1", NONCE, outcome={"state": "ended", "error": None})  # nothing to stop


def without_wishes(laptop: Laptop) -> dict[str, str]:
    """The environment of a person who wishes nothing of terminals; pytest-xdist sets a width."""
    wishes = ("NO_COLOR", "COLUMNS", "LINES")
    return {key: value for key, value in laptop.environment.items() if key not in wishes}


def ends_with(*wanted: str) -> Callable[[list[str]], bool]:
    return lambda lines: lines[-len(wanted) :] == list(wanted)


def test_the_jobs_are_drawn_in_place_until_all_workers_are_here(
    jupyter: Jupyter, scale: Opens
) -> None:
    jupyter.jobs = [job(8, "running"), job(9, "queued", 0, "Priority", SOON)]
    with scale("4") as window:
        first, *_ = window.see(
            ends_with(
                "big-1: Dask: 0 of 4 workers are here",
                HEADS,
                "8    running                                 0",
                "9    queued   Priority  2026-11-25 04:00:00  0",
            )
        )
        jupyter.jobs = [job(8, "running", 2), job(9, "running")]
        window.resize(40, 10)
        window.see(
            ends_with(
                "big-1: Dask: 2 of 4 workers are here",
                "JOB  STATE    REASON  EXPECTED START  …",
                "8    running                          2",
                "9    running                          0",
            )
        )
        window.resize(130, 30)
        jupyter.jobs = [job(8, "running", 2), job(9, "running", 2)]
        assert window.end() == 0
        last = [
            "big-1: Dask: 4 of 4 workers are here",
            "JOB  STATE    REASON  EXPECTED START  WORKERS",
            "8    running                          2",
            "9    running                          2",
        ]
        assert window.emulator.lines[-4:] == last
        assert window.emulator.lines.count(last[1]) == 1
    assert jupyter.asked == [{"workers": 4}]
    assert first.startswith("dask: 0 workers here, 4 asked for; each has 1 threads")


def test_many_jobs_are_summed_up_and_an_interrupt_leaves_the_last_form(
    jupyter: Jupyter, scale: Opens
) -> None:
    jupyter.jobs = [job(number, "running", 1) for number in range(200)]
    jupyter.jobs += [job(number, "queued", 0, "Priority", SOON) for number in range(200, 300)]
    shown = (
        "big-1: Dask: 200 of 300 workers are here",
        "JOB                   STATE    REASON    EXPECTED START       WORKERS",
        "200 jobs (0 … 199)    running                                 200",
        "100 jobs (200 … 299)  queued   Priority  2026-11-25 04:00:00  0",
    )
    with scale("300") as window:
        window.see(ends_with(*shown))
        window.interrupt()
        assert window.end() == 130
        head, *lines = window.emulator.lines
        assert head.startswith("dask: 200 workers here")
        words = "they are asked for all the same; `hpclaunch status big-1` shows them"
        assert lines == [*shown, words]


def test_the_end_of_the_session_is_told_below_the_table(jupyter: Jupyter, scale: Opens) -> None:
    jupyter.jobs = [job(8, "running")]
    with scale("2") as window:
        window.see(ends_with("8    running                          0"))
        error = {"kind": "SessionFailed", "what": "job 7 was cancelled", "hint": "start again"}
        Book().update("big-1", NONCE, outcome={"state": "failed", "error": error})
        assert window.end() == 1
        assert window.emulator.lines[-3:] == [
            "8    running                          0",
            "error: job 7 was cancelled",
            "hint: start again",
        ]


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (("4",), {"TERM": "dumb"}),
        (("4",), {"NO_COLOR": "1"}),
        (("--min", "1", "--max", "4"), {}),
        (("4", "--json"), {}),
        (("4",), {"argv": ("/bin/sh", "-c", 'exec "$@" | cat', "sh")}),
    ],
)
def test_elsewhere_it_says_how_the_cluster_is_and_returns(
    jupyter: Jupyter, scale: Opens, words: tuple[str, ...], environment: dict[str, Any]
) -> None:
    jupyter.jobs = [job(8, "queued", 0, "Priority", SOON)]
    with scale(*words, **environment) as window:
        assert window.end() == 0
        assert "\x1b" not in window.raw and "JOB" not in window.raw
        if "--json" in words:
            assert json.loads(window.raw) == jupyter.document()
        else:
            assert window.raw.splitlines()[1:] == [
                "  8: queued (Priority), expected to start 2026-11-25 04:00:00"
            ]


def test_start_draws_the_workers_of_this_machine(laptop: Laptop) -> None:
    inherited = without_wishes(laptop)
    argv = laptop.argv("start", "local", "--no-browser", "--name", "here")
    with Window(argv, {**inherited, "TERM": "xterm"}, width=140) as window:
        window.see(ends_with("here: Dask: 2 of 2 workers are here"))
        assert "here: Dask:" not in "\n".join(window.emulator.lines[:-1])
        window.resize(80, 30)
        window.interrupt()
        assert window.end() == 130
        shown, last = window.emulator.lines[-2:]
        assert shown == "here: Dask: 2 of 2 workers are here"
        assert last.startswith("session here lives on")
