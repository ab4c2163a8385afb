"""Lines that are drawn in place: what a terminal shows of them, whatever happens meanwhile."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hpclaunch.cli.arrivals import _lines
from hpclaunch.cli.board import Board, board_here
from hpclaunch.cli.tell import tell
from hpclaunch.sessions.cluster import arrival_rows, cluster_lines
from tests.support.window import Emulator

WIDTH, HEIGHT = 60, 12


class Sheet:
    """A board on a terminal that is emulated."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT, *, wraps: bool = True) -> None:
        self.written = io.StringIO()
        self.console = Console(
            file=self.written, force_terminal=True, width=width, height=height, legacy_windows=False
        )
        self.emulator = Emulator(width, height, wraps=wraps)
        self.board = Board(self.console)

    def show(self, *lines: str) -> None:
        self.board.show(lambda _: lines)  # the board leaves out what has no room
        self.look()

    def tell(self, line: str) -> None:
        self.board.tell(line)
        self.look()

    def resize(self, width: int, height: int) -> None:
        self.emulator.resize(width, height)
        self.console.size = (width, height)  # type: ignore[assignment]
        self.board.keep()
        self.look()

    def look(self) -> None:
        """Let the emulator have what was written."""
        self.emulator.feed(self.written.getvalue().replace("\n", "\r\n"))
        self.written.seek(0)
        self.written.truncate()


words = st.text(st.sampled_from("abc äß漢"), max_size=30)
drawings = st.lists(words.map(str.strip).filter(bool), max_size=HEIGHT + 3)
notes = st.integers(0, 99).map("told {}".format)


@given(st.lists(drawings | notes, max_size=8))
def test_lines_are_drawn_over_and_what_is_told_stays_above(steps: list[Any]) -> None:
    sheet = Sheet()
    told: list[str] = []
    shown: list[str] = []
    for step in steps:
        if isinstance(step, str):
            sheet.tell(step)
            told.append(step)
        else:
            sheet.show(*step)
            shown = step[: HEIGHT - 1]
        assert sheet.emulator.lines == [*told, *shown]


sizes = st.tuples(st.integers(14, 80), st.integers(3, 20))


@pytest.mark.parametrize("wraps", [True, False])
@given(
    steps=st.lists(
        st.one_of(st.lists(st.text("abc", min_size=1), max_size=20), notes, sizes), max_size=10
    )
)
def test_no_window_tears_what_is_drawn_or_loses_what_was_told(
    wraps: bool, steps: list[Any]
) -> None:
    sheet = Sheet(wraps=wraps)
    told: list[str] = []
    for step in steps:
        if isinstance(step, str):
            sheet.tell(step)
            told.append(step)
        elif isinstance(step, tuple):
            sheet.resize(*step)
        else:
            sheet.show(*step)
        drawn = sheet.board._drawn
        shown = sheet.emulator.shown
        assert shown[len(shown) - len(drawn) :] == drawn
        assert sheet.emulator.current == ""
        assert [line for line in sheet.emulator.lines if line.startswith("told")] == told


def test_a_wider_or_higher_window_and_one_that_is_wide_enough_leave_nothing_behind() -> None:
    sheet = Sheet()
    sheet.tell("first")
    sheet.show("JOB STATE", "1 queued")
    for size in ((80, 12), (80, 20), (10, 20), (10, 5), (60, 12)):
        sheet.resize(*size)
        assert sheet.emulator.lines == ["first", "JOB STATE", "1 queued"]


@pytest.mark.parametrize(
    ("wraps", "old"),
    [(True, ["1 of 2 wor", "kers", "7 queued s", "oon"]), (False, ["1 of 2 wor", "7 queued s"])],
)
def test_what_a_narrower_window_has_moved_stays_behind_whole(wraps: bool, old: list[str]) -> None:
    sheet = Sheet(wraps=wraps)
    sheet.tell("first")
    sheet.show("1 of 2 workers", "7 queued soon")
    sheet.resize(10, HEIGHT)
    assert sheet.emulator.lines == ["first", *old, "1 of 2 w…", "7 queued…"]
    sheet.show("2 of 2 workers")
    assert sheet.emulator.lines == ["first", *old, "2 of 2 w…"]


def test_a_line_of_the_site_moves_nothing() -> None:
    sheet = Sheet()
    sheet.show("reason \x1b[2J\x1b[1;1H\a", "next\rline\n")
    assert sheet.emulator.shown == ["reason �[2J�[1;1H�", "next�line�"]


def test_nothing_is_written_where_nothing_changes() -> None:
    sheet = Sheet()
    sheet.board.show(lambda _: ["same"])
    assert sheet.written.getvalue()
    sheet.look()
    sheet.board.show(lambda _: ["same"])
    sheet.board.keep()
    assert sheet.written.getvalue() == ""


def test_the_echo_of_an_interrupt_is_drawn_over_and_the_last_form_stays(capsys: Any) -> None:
    sheet = Sheet()
    with pytest.raises(KeyboardInterrupt), sheet.board:
        sheet.show("1 of 2 are here")
        tell("reachable again")
        sheet.look()
        assert sheet.emulator.lines == ["reachable again", "1 of 2 are here"]
        sheet.emulator.feed("^C")
        raise KeyboardInterrupt
    sheet.look()
    assert sheet.emulator.lines == ["reachable again", "1 of 2 are here"]
    assert sheet.emulator.current == ""
    tell("it lives on")
    assert capsys.readouterr().err == "it lives on\n"


def test_only_a_terminal_that_can_be_drawn_on_gets_a_board(monkeypatch: Any) -> None:
    assert board_here() is None  # pytest's stderr
    for name, value, wanted in (
        ("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setenv("TERM", "xterm")
            patch.delenv("NO_COLOR", raising=False)
            patch.setattr("sys.stderr", Screen())
            patch.setenv(name, value)
            assert (board_here() is not None) is wanted, (name, value)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


# What is drawn


def jobs(*groups: tuple[int, str, str, str | None, int]) -> dict[str, Any]:
    """A cluster with so many jobs of each kind: number, state, reason, start, workers."""
    found = [
        {"id": f"{group}_{index}", "name": f"{group}-{index}", "state": state, "reason": reason,
         "expected_start": start, "workers": workers}
        for group, (number, state, reason, start, workers) in enumerate(groups)
        for index in range(number)
    ]  # fmt: skip
    present = sum(one["workers"] for one in found)
    return {"jobs": found, "present": present, "workers": 2 * len(found), "problem": None}


SOON, LATER = "2026-11-25T04:00:00", "2026-11-25T05:00:00"


def test_every_job_is_a_row_while_there_is_room() -> None:
    document = jobs((1, "running", "", None, 2), (1, "queued", "Priority", SOON, 0))
    assert _lines("big-1", document, 10) == [
        "big-1: Dask: 2 of 4 workers are here",
        "JOB  STATE    REASON    EXPECTED START       WORKERS",
        "0_0  running                                 2",
        "1_0  queued   Priority  2026-11-25 04:00:00  0",
    ]


def test_many_jobs_are_summed_up_by_kind_and_more_by_state() -> None:
    document = jobs(
        (40, "running", "", None, 2),
        (30, "queued", "Priority", SOON, 0),
        (30, "queued", "Priority", LATER, 0),
    )
    assert arrival_rows(document, 99)[0] == ("40 jobs (0_0 … 0_39)", "running", "", "", "80")
    assert arrival_rows(document, 3) == [
        ("40 jobs (0_0 … 0_39)", "running", "", "", "80"),
        ("30 jobs (1_0 … 1_29)", "queued", "Priority", "2026-11-25 04:00:00", "0"),
        ("30 jobs (2_0 … 2_29)", "queued", "Priority", "2026-11-25 05:00:00", "0"),
    ]
    assert arrival_rows(document, 2) == [
        ("40 jobs (0_0 … 0_39)", "running", "", "", "80"),
        ("60 jobs (1_0 … 2_29)", "queued", "", "", "0"),
    ]
    assert len(arrival_rows(document, 1)) == 1


@given(
    numbers=st.lists(st.integers(1, 30), max_size=5),
    rows=st.integers(1, 40),
    problem=st.none() | st.just("sbatch: error: no"),
)
def test_there_are_never_more_lines_than_rows(
    numbers: list[int], rows: int, problem: str | None
) -> None:
    kinds = [(number, f"state{number % 3}", "why", None, 1) for number in numbers]
    document = {**jobs(*kinds), "problem": problem}
    sheet = Sheet(60, rows + 1)
    sheet.board.show(lambda most: _lines("big-1", document, most))
    sheet.look()
    assert len(sheet.emulator.lines) <= rows
    total = sum(numbers)
    assert sheet.emulator.lines[0] == f"big-1: Dask: {total} of {2 * total} workers are here"
    if total <= rows - 3:
        assert len(sheet.emulator.lines) == total + 1 + bool(numbers) + bool(problem)


def test_an_empty_cluster_has_no_empty_table() -> None:
    assert _lines("local-1", {**jobs(), "workers": 2}, 9) == [
        "local-1: Dask: 0 of 2 workers are here"
    ]


def test_the_lines_of_status_are_the_same_as_before() -> None:
    document = {
        **jobs((1, "running", "", None, 2), (2, "queued", "Priority", SOON, 0)),
        "adaptive": None, "threads": 1, "memory": 10**9, "job_memory": 2 * 10**9,
    }  # fmt: skip
    assert cluster_lines(document)[1:] == [
        "  0_0: running",
        "  2 jobs (1_0 … 1_1): queued (Priority), expected to start 2026-11-25 04:00:00",
    ]
