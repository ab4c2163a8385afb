"""The rules by which files are advised on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.filesystems import KINDS
from hpclaunch.storage.advice import advise_facts
from hpclaunch.storage.blocks import LARGEST, MOST_TASKS, Machine, block_shape
from hpclaunch.storage.describe import describe
from hpclaunch.storage.layout import Layout
from hpclaunch.storage.places import Place
from hpclaunch.storage.stripes import Stripes
from hpclaunch.storage.striping import stripe_command
from tests.storage.test_describe import chunked, contiguous, index, variable

pytestmark = pytest.mark.pure

LOCAL = Place("/f", KINDS["ext4"])
NODE = Machine(workers=1, threads=8, memory=32 * 2**30)


def advice(*layouts, place=LOCAL, machine=NODE, pattern="all", files=1, size=10**9):
    variables = [variable(f"v{at}", layout) for at, layout in enumerate(layouts)]
    facts = describe(index(*variables, size=size))
    return advise_facts(facts, place, machine, pattern, files=files)


def told(found, key):
    return [one for one in found if one.key == key]


# blocks

shapes = st.lists(st.integers(1, 2000), min_size=1, max_size=4)


@given(st.data(), shapes, st.sampled_from(["map", "series", "all"]), st.integers(1, 512))
def test_blocks_are_whole_chunks_within_the_variable(data, shape, pattern, threads):
    chunk = [data.draw(st.integers(1, n)) for n in shape]
    machine = Machine(1, threads, data.draw(st.integers(2**28, 2**36)))
    block = block_shape(shape, chunk, 4, pattern, machine)
    for b, c, n in zip(block, chunk, shape, strict=True):
        assert c <= b <= n and (b % c == 0 or b == n)
    if math.prod(chunk) * 4 <= machine.memory // (6 * threads):
        assert math.prod(block) * 4 <= max(machine.memory // (6 * threads), LARGEST)


def test_map_chunks_are_joined_along_time():
    block = block_shape((744, 181, 360), (1, 181, 360), 4, "map", NODE)
    assert block[1:] == (181, 360) and 8 * 2**20 / 2 <= math.prod(block) * 4 <= LARGEST


def test_a_series_gets_all_of_time_first():
    block = block_shape((8760, 181, 360), (730, 30, 30), 4, "series", NODE)
    assert block[0] == 8760


def test_small_chunks_are_joined():
    block = block_shape((744, 181, 360), (1, 32, 32), 4, "all", NODE)
    assert math.prod(block) * 4 >= 2**22


def test_blocks_of_small_chunks_are_the_largest():
    many = {"files": 100}
    small = block_shape((744, 181, 360), (1, 32, 32), 4, "all", NODE, **many)
    large = block_shape((744, 181, 360), (1, 181, 360), 4, "all", NODE, **many)
    assert math.prod(small) > 1.25 * math.prod(large)
    assert math.prod(small) * 4 <= LARGEST


def test_a_large_chunk_is_not_cut():
    assert block_shape((100, 5000, 5000), (50, 5000, 5000), 4, "map", NODE) == (50, 5000, 5000)


def test_contiguous_variables_are_cut_into_rows():
    block = block_shape((744, 181, 360), None, 4, "all", NODE)
    assert block[1:] == (181, 360) and 1 < block[0] < 744


def test_tasks_are_bounded():
    shape = (8760, 721, 1440)
    machine = Machine(workers=64, threads=16, memory=64 * 2**30)
    block = block_shape(shape, (1, 721, 1440), 4, "all", machine, files=80)
    tasks = 80 * math.prod(-(-n // b) for n, b in zip(shape, block, strict=True))
    assert tasks <= 1.1 * MOST_TASKS


def test_memory_bounds_blocks():
    small = Machine(workers=1, threads=4, memory=2**27)
    block = block_shape((744, 181, 360), (1, 181, 360), 4, "all", small)
    assert math.prod(block) * 4 * 6 * 4 <= 2**27


@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (1,)])
def test_odd_shapes(shape):
    assert len(block_shape(shape, None, 8, "all", NODE)) == len(shape)
    assert len(block_shape(shape, shape and (3,) * len(shape), 8, "series", NODE)) == len(shape)


# advice


def test_every_piece_has_its_reason():
    found = advice(chunked((744, 181, 360), (1, 181, 360)), contiguous((181, 360)))
    assert all(one.reason for one in found)
    assert {one.key for one in found} >= {"engine", "chunks", "workers", "HDF5_USE_FILE_LOCKING"}
    (chunks, _) = told(found, "chunks")
    assert chunks.about == "v0" and set(chunks.value) == {"t", "y", "x"}
    assert "whole HDF5 chunks" in chunks.reason


def test_the_engine_is_that_which_decodes():
    strings = Layout("other", (3, 3), np.dtype("i4"), reason="compound")
    assert told(advice(contiguous((3, 3))), "engine")[0].value == "hpclaunch"
    mixed = told(advice(contiguous((3, 3)), strings), "engine")[0]
    assert mixed.value == "hpclaunch" and "v1" in mixed.reason
    assert told(advice(strings), "engine")[0].value == "netcdf4"


def test_threads_rather_than_processes():
    many = Machine(workers=32, threads=1)
    (found,) = told(advice(contiguous((3, 3)), machine=many), "workers")
    assert found.value == {"workers": 4, "threads": 8}
    for good in (Machine(4, 8), Machine(1, 2), Machine(1, 1)):
        assert told(advice(contiguous((3, 3)), machine=good), "workers")[0].value is None
    odd = told(advice(contiguous((3, 3)), machine=Machine(3, 1)), "workers")[0].value
    assert odd == {"workers": 1, "threads": 3}


def test_many_files_are_indexed_beforehand():
    assert told(advice(contiguous((3, 3)), files=365), "index")[0].value.endswith("FILE...")
    assert told(advice(contiguous((3, 3))), "index") == []


def test_a_page_buffer_is_for_paged_files_that_the_library_reads():
    szip = variable("v", chunked((100, 100, 100), (10, 50, 50), reason="szip (4)"))
    plain = variable("v", chunked((100, 100, 100), (10, 50, 50)))
    paged = {"paged": True, "page size": 4 * 2**20}
    for one, facts, value in ((szip, paged, 2**26), (szip, {}, None), (plain, paged, None)):
        found = advise_facts(describe(index(one, facts=facts)), LOCAL, NODE)
        assert [each.value for each in told(found, "page_buf_size")] == ([value] if value else [])


def test_locks_are_left_out_on_shared_file_systems_only():
    def locking(kind):
        return told(advice(contiguous((3, 3)), place=Place("/f", KINDS[kind])), key)[0].value

    key = "HDF5_USE_FILE_LOCKING"
    assert locking("lustre") == locking("nfs") == "FALSE"
    assert locking("ext4") is None and locking("fuse") is None


def test_the_librarys_cache_holds_what_one_access_touches():
    szip = chunked((100, 100, 100), (10, 50, 50), reason="szip (4)")
    (found,) = told(advice(szip), "rdcc_nbytes")
    assert found.value == max(2**20, 4 * 10 * 50 * 50 * 4)
    assert told(advice(chunked((100, 100, 100), (10, 50, 50))), "rdcc_nbytes") == []


def test_rechunking_is_for_an_access_that_the_chunks_are_bad_for():
    maps = chunked((8760, 200, 200), (1, 200, 200))
    (found,) = told(advice(maps, pattern="series"), "rechunk")
    assert found.value["t"] > 1 and "pays after about" in found.reason
    assert told(advice(maps, pattern="map"), "rechunk") == []
    assert told(advice(maps, pattern="all"), "rechunk") == []
    assert told(advice(chunked((8760, 40, 40), (8760, 10, 10)), pattern="series"), "rechunk") == []


def test_stripes_are_for_large_files_on_few_targets():
    one = Place("/f", KINDS["lustre"], components=(Stripes(2**20, 1),), size=2**36)
    (found,) = told(advice(contiguous((3, 3)), place=one, size=2**36), "stripes")
    assert found.value == "lfs setstripe -E 1G -c 1 -S 1M -E -1 -c 16 -S 4M DIRECTORY"
    assert told(advice(contiguous((3, 3)), place=one, size=2**30), "stripes") == []
    many = Place("/f", KINDS["lustre"], components=(Stripes(2**20, 16),), size=2**36)
    assert told(advice(contiguous((3, 3)), place=many, size=2**36), "stripes") == []
    assert told(advice(contiguous((3, 3)), size=2**36), "stripes") == []


def test_commands_for_stripes():
    assert stripe_command("lustre", 10**6) == "lfs setstripe -c 1 -S 1M DIRECTORY"
    assert "--num-targets=4" in (stripe_command("beegfs", 2**34) or "")
    assert stripe_command("gpfs", 2**40) is None
