"""The table of failures, its documentation and its tests say the same."""

from __future__ import annotations

from tests.e2e import provoke
from tests.e2e.failures import FAILURES, HARMLESS, says
from tests.e2e.failures_page import PAGE, page


def test_the_page_in_the_documentation_is_the_one_that_the_table_gives() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.e2e.failures_page`"


def test_everything_in_the_table_can_be_brought_about() -> None:
    names = [one.name for one in (*FAILURES, *HARMLESS)]
    assert len(set(names)) == len(names)
    for name in names:
        assert callable(getattr(provoke, name.replace("-", "_"), None)), name


def test_dots_in_a_text_stand_for_anything_in_a_line_and_nothing_else_does() -> None:
    assert says("error: job 7 of x ended", "job … of … ended")
    assert not says("job 7\nended", "job … ended")
    assert not says("job 7 was ended", "job .* ended")
