"""Amounts of memory and walltimes: exact, and with one meaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.units import Memory, Walltime

amounts = st.integers(1, 2**70).map(Memory)
walltimes = st.integers(1, 10**8).map(Walltime)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1 B", 1),
        ("4 GB", 4 * 10**9),
        ("4GiB", 4 * 2**30),
        ("4G", 4 * 2**30),
        ("500M", 500 * 2**20),
        ("  1.5 gib ", 3 * 2**29),
        ("0.1 KB", 100),
        ("2 tb", 2 * 10**12),
        ("9007199254740993 B", 2**53 + 1),
    ],
)
def test_memory_is_read(text, size):
    assert Memory.parse(text).bytes == size


@pytest.mark.parametrize(
    "text",
    ["", "GB", "4", "4096", "-4 GB", "4 GBB", "4 Gb/s", "1e3 MB", "1,5 GB", "४ GB", "4 GB x"],
)
def test_what_is_no_memory_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write for example '4 GB'"):
        Memory.parse(text)


@pytest.mark.parametrize(
    "make", [lambda: Memory(0), lambda: Memory(-1), lambda: Memory.parse("0 B")]
)
def test_no_memory_is_no_amount(make):
    with pytest.raises(ValueError, match="more than 0"):
        make()


@given(amounts)
def test_memory_is_written_so_that_it_reads_back_exactly(memory):
    assert Memory.parse(str(memory)) == memory


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (10**9, "1 GB"),
        (2**30, "1 GiB"),
        (15 * 10**8, "1.5 GB"),
        (3 * 2**29, "1.5 GiB"),
        (123_456 * 10**6, "123.456 GB"),
        (2**30 + 1, "1073741.825 KB"),
        (999, "999 B"),
    ],
)
def test_memory_is_written_in_the_largest_unit_that_is_exact(size, text):
    assert str(Memory(size)) == text


@given(amounts)
def test_mib_are_never_less_than_asked_and_never_one_too_many(memory):
    mib = memory.in_mib()
    assert (mib - 1) * 2**20 < memory.bytes <= mib * 2**20


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2:30:00", 9000),
        ("00:00:01", 1),
        ("100:00:00", 360000),
        ("1-12:00:00", 129600),
        ("90m", 5400),
        ("90 min", 5400),
        ("2h30m", 9000),
        ("1d", 86400),
        ("1d 2h 3m 4s", 93784),
        (" 45s ", 45),
    ],
)
def test_a_walltime_is_read(text, seconds):
    assert Walltime.parse(text).seconds == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "10:30", "2", "1-12", "1-2:30", "h", "2h30", "30m2h", "1:2:3:4", "-1:00:00", "٣h"],
)
def test_a_walltime_of_two_meanings_or_none_is_refused(text):
    with pytest.raises(ValueError, match="not a walltime; write HH:MM:SS"):
        Walltime.parse(text)


@pytest.mark.parametrize("text", ["0:00:00", "0s", "0-00:00:00"])
def test_no_time_is_no_walltime(text):
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Walltime.parse(text)


@given(walltimes)
def test_a_walltime_reads_back(walltime):
    assert Walltime.parse(str(walltime)) == walltime


@given(walltimes, walltimes)
def test_walltimes_and_amounts_have_an_order(one, other):
    assert (one < other) == (one.seconds < other.seconds)
    assert (Memory(one.seconds) < Memory(other.seconds)) == (one.seconds < other.seconds)
