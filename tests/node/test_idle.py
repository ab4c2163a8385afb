"""An abandoned session ends by itself; whatever somebody would miss keeps it alive."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.node.idle import peers_of
from hpclaunch.node.layout import PULSE_PAGE, Layout
from hpclaunch.node.processes import descendants
from hpclaunch.node.terminals import read_stat
from tests.node.live import LOCAL_DASK, Live, agent, make_session

pytestmark = pytest.mark.local

LIMIT = 3.0
BUSY = 2 * LIMIT
START = "from distributed import Client\nclient = Client()\nimport time\n"


@pytest.fixture
def abandoned_after(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Start an agent whose session nobody may leave alone for long."""
    running: list[Any] = []

    def start(limit: float | None = LIMIT, **fields: Any) -> Live:
        directory = make_session(tmp_path / "demo", idle_limit=limit, **fields)
        running.append(agent(directory, tmp_path / "home"))
        live: Live = running[-1].__enter__()
        live.wait_for(Layout.RENDEZVOUS)
        return live

    yield start
    for one in running:
        one.__exit__(None, None, None)


def must_end(live: Live, since: float) -> None:
    """The session ends by itself, not before its limit and soon after."""
    assert live.process.wait(LIMIT + 25) == 0, live.log
    took = time.monotonic() - since
    assert took >= LIMIT - 0.5, f"ended {took:.1f} s after the last use\n{live.log}"
    word = live.json(Layout.ENDING)
    assert word["cause"] == "idle" and word["what"].startswith("ended: idle for 0:00:0")
    assert word["what"] in live.log
    assert not (live.directory / Layout.FAILURE).exists()
    assert not any((live.directory / name).exists() for name in Layout.SECRETS)


def must_live(live: Live, seconds: float) -> None:
    """The session is still there after so many seconds."""
    time.sleep(max(0.0, seconds))
    assert live.process.poll() is None, live.log


def test_a_session_that_nobody_ever_opened_ends(abandoned_after: Callable[..., Live]) -> None:
    live = abandoned_after()
    must_end(live, time.monotonic())


def test_without_a_limit_it_lives(abandoned_after: Callable[..., Live]) -> None:
    live = abandoned_after(None)
    must_live(live, BUSY)


def test_an_open_page_keeps_it_also_without_a_kernel(abandoned_after: Callable[..., Live]) -> None:
    live = abandoned_after()
    page = live.websocket("/api/events/subscribe")
    assert page.sock is not None
    assert page.sock.getsockname()[:2] in peers_of(live.port)
    must_live(live, BUSY)
    page.close()
    must_end(live, time.monotonic())


def test_a_keeper_that_only_watches_does_not_keep_it(abandoned_after: Callable[..., Live]) -> None:
    live = abandoned_after()
    began = time.monotonic()
    with live.connect() as held:
        mine = held.getsockname()
        ask = f"GET {PULSE_PAGE} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nAuthorization: token "
        held.sendall(f"{ask}{live.token}\r\n\r\n".encode())
        assert list(mine) in json.loads(held.recv(4096).partition(b"\r\n\r\n")[2])["callers"]
        assert live.request(PULSE_PAGE, token=None)[0] == 403, "only who has the token is told"
        must_end(live, began)


def test_a_cell_that_computes_keeps_it_though_nobody_looks(
    abandoned_after: Callable[..., Live], tmp_path: Path
) -> None:
    live = abandoned_after()
    done = tmp_path / "done"
    leave_a_cell_running(live, f"import time; time.sleep({BUSY}); open({str(done)!r}, 'w')")
    began = time.monotonic()
    must_live(live, BUSY - 0.5)
    must_end(live, began + BUSY)
    assert done.exists(), "the cell came to its end"


@pytest.mark.parametrize(
    "command", ["sleep {}", "timeout {} sh -c 'while :; do :; done' &"], ids=["waits", "background"]
)
def test_a_program_in_a_terminal_keeps_it(
    abandoned_after: Callable[..., Live], command: str
) -> None:
    live = abandoned_after()
    status, _, body = live.request("/api/terminals", method="POST", body={})
    assert status == 200, body
    page = live.websocket(f"/terminals/websocket/{json.loads(body)['name']}")
    page.send(json.dumps(["stdin", command.format(BUSY) + "\r"]))
    began = await_program(live, command.split()[0])
    page.close()
    must_live(live, began + BUSY - 0.5 - time.monotonic())
    must_end(live, began + BUSY - 1.0)


def await_program(live: Live, name: str) -> float:
    """Wait until a program of that name runs below the agent; returns a moment before it began."""
    began = time.monotonic()
    deadline = began + 30
    while True:
        asked = time.monotonic()
        if name in programs_below(live.process.pid):
            return began
        assert asked < deadline, live.log
        began = asked
        time.sleep(0.05)


def programs_below(pid: int) -> set[str]:
    """Names of the programs that descend from a process."""
    names = set()
    for one in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.add(Path(f"/proc/{one}/comm").read_text().strip())
    return names


def test_a_task_of_dask_keeps_it_though_its_kernel_is_idle(
    abandoned_after: Callable[..., Live],
) -> None:
    live = abandoned_after(dask={**LOCAL_DASK, "workers": 1})
    leave_a_cell_running(live, f"{START}task = client.submit(time.sleep, {BUSY})")
    began = time.monotonic()
    must_live(live, BUSY - 0.5)
    must_end(live, began + LIMIT)


def leave_a_cell_running(live: Live, code: str) -> None:
    """Start a cell in a new kernel and close the page."""
    status, _, body = live.request("/api/kernels", method="POST", body={})
    assert status == 201, body
    page = live.websocket(f"/api/kernels/{json.loads(body)['id']}/channels")
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "1", "username": "",
              "version": "5.3", "date": ""}  # fmt: skip
    content = {"code": code, "silent": False}
    page.send(
        json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content,
                    "channel": "shell"})
    )  # fmt: skip
    while True:
        message = json.loads(page.recv())
        if message["msg_type"] == "execute_input":
            break
    page.close()


def test_a_name_with_blanks_and_parentheses_is_read() -> None:
    text = "42 (a) b (c)) S 1 41 40 34816 41 4194304 9 9 0 0 17 5 0 0 20 0 1 0 99"
    found = read_stat(text)
    assert (found.pid, found.group, found.session) == (42, 41, 40)
    assert (found.terminal, found.foreground, found.ticks) == (34816, 41, 22)
    assert not found.leads
