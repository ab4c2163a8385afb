"""Slurm's node lists and the names they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.schedulers.nodelist import expand_nodes

pytestmark = [pytest.mark.pure]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        (" ", ()),
        ("c1", ("c1",)),
        ("c[1-2]", ("c1", "c2")),
        ("c[1-2,5],login03", ("c1", "c2", "c5", "login03")),
        ("nid[000098-000101]", ("nid000098", "nid000099", "nid000100", "nid000101")),
        ("n[9-10]", ("n9", "n10")),
        ("n[09-10,7]", ("n09", "n10", "n7")),
        ("r[1-2]n[1-2]", ("r1n1", "r1n2", "r2n1", "r2n2")),
        ("gpu[1,3]-ib.cluster", ("gpu1-ib.cluster", "gpu3-ib.cluster")),
        ("a-b[1],c-[2-3]", ("a-b1", "c-2", "c-3")),
    ],
)
def test_a_list_stands_for_these_names(text, names):
    assert expand_nodes(text) == names


@pytest.mark.parametrize(
    "text",
    [
        *("c[1-2", "c1-2]", "c[]", "c[2-1]", "c[a-b]", "c[1-2-3]", "c1,,c2", ",c1", "c1,"),
        *("c[[1]]", "c[1-999999999]", "c[0-9999][0-9999]", "c[" + "9" * 5000 + "]", "c[１]"),
    ],
)
def test_what_is_no_node_list_is_refused(text):
    with pytest.raises(ValueError, match=r"node list|name"):
        expand_nodes(text)


def compress(prefix: str, numbers: list[int], width: int) -> str:
    """Numbers as Slurm writes them: runs of neighbours as one range."""
    parts, run = [], [numbers[0]]
    for number in [*numbers[1:], -1]:
        if number == run[-1] + 1:
            run.append(number)
        else:
            ends = (run[0], run[-1]) if len(run) > 1 else (run[0],)
            parts.append("-".join(str(end).zfill(width) for end in ends))
            run = [number]
    return f"{prefix}[{','.join(parts)}]"


prefixes = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
sets = st.lists(st.integers(0, 3000), min_size=1, max_size=40, unique=True).map(sorted)


@given(st.lists(st.tuples(prefixes, sets, st.integers(1, 5)), min_size=1, max_size=4))
def test_every_list_that_slurm_writes_is_read_back(groups):
    text = ",".join(compress(*group) for group in groups)
    names = [f"{p}{str(n).zfill(width)}" for p, numbers, width in groups for n in numbers]
    assert expand_nodes(text) == tuple(names)


@given(st.text() | st.text(st.sampled_from("c0123[]-,")))
def test_any_text_is_names_or_a_value_error(text):
    try:
        names = expand_nodes(text)
    except ValueError:
        return
    assert all(names)
