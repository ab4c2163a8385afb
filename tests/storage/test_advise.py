"""Advice with what a sample shows: its form, and that its lines open the files."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

import hpclaunch.storage
from hpclaunch.cli import main
from hpclaunch.errors import HpclaunchError, UsageError
from hpclaunch.storage import advising, costs, sidecar, trials
from hpclaunch.storage.advice import Advice, Gain
from hpclaunch.storage.advising import Advised, advise
from hpclaunch.storage.blocks import Machine
from hpclaunch.storage.code import with_code
from hpclaunch.storage.describe import describe
from hpclaunch.storage.sample import ADVISED, OTHERS, PIECES, TUNED, USUAL, Sample
from hpclaunch.storage.sampling import gain_of, points_of, region_of, stored_ranges
from hpclaunch.storage.trials import in_turns
from hpclaunch.storage.verdicts import judged, not_tried
from tests.storage.test_describe import chunked, contiguous, index, variable

pytestmark = pytest.mark.pure

ACCESSES = ("map", "series", "all")


@pytest.fixture(autouse=True)
def own_cache_and_few_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "ROUNDS", 2)
    monkeypatch.setattr(advising, "SECONDS", 120.0)
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(tmp_path / "cache"))


def write(path: Path, month: int = 1, group: str = "/") -> str:
    with netCDF4.Dataset(path, "w") as root:
        file = root if group == "/" else root.createGroup(group)
        file.createDimension("time", None)
        file.createDimension("lat", 40)
        file.createDimension("lon", 60)
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 2001-01-01"
        time[:] = np.arange(30.0 + month) + 40 * month
        t2m = file.createVariable(
            "t2m", "f4", ("time", "lat", "lon"), zlib=True, chunksizes=(1, 40, 60)
        )
        t2m[:] = np.random.default_rng(month).normal(size=(30 + month, 40, 60))
        file.createVariable("orography", "f4", ("lat", "lon"))[:] = 1
        file.createVariable("name", str, ("lat",))[:] = np.array(["x"] * 40, object)
    return str(path)


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / f"m{month}.nc", month) for month in (1, 2, 3)]


def opened(line: str, paths: list[str]) -> xarray.Dataset:
    return eval(line, {"xarray": xarray, "hpclaunch": hpclaunch, "paths": paths})


def state(directory: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in directory.glob("*.nc*")
    )


# advise


@pytest.mark.parametrize("access", ACCESSES)
def test_advice_on_files_is_measured_and_opens_them(files, access):
    before = state(Path(files[0]).parent)
    found = advise(files, access=access, seconds=120)
    assert state(Path(files[0]).parent) == before, "nothing is written beside the data"
    assert found.sample is not None, found.unmeasured
    assert found.sample.variable == "t2m" and found.sample.rounds == trials.ROUNDS
    assert 0 < found.sample.decoded <= trials.BYTES and found.sample.stored > 0
    for one in found.advice:
        assert all(gain.low <= gain.ratio <= gain.high for gain in one.gains)
        assert one.value is None or one.key == "open" or bool(one.gains) != bool(one.unmeasured)
    assert found["index"].gains
    assert {gain.against for gain in found["engine"].gains} == {OTHERS[TUNED], OTHERS[USUAL]}
    wanted = xarray.open_mfdataset(
        files, engine="netcdf4", data_vars="minimal", coords="minimal", compat="override"
    ).load()
    lines = [one.code for one in found.advice if one.key in ("open", "chunks")]
    assert len(lines) == 3
    for line in lines:
        dataset = opened(line, files)
        assert dataset.t2m.chunks is not None
        xarray.testing.assert_identical(dataset.load(), wanted)


def test_chunks_of_the_line_are_those_of_the_advice(files):
    one = advise(files[0], sample=False)["chunks"]
    assert one.about == "t2m"
    dataset = opened(one.code, files[:1])
    assert {dim: max(parts) for dim, parts in dataset.t2m.chunksizes.items()} == one.value


def test_nothing_is_read_without_a_sample(files, monkeypatch):
    monkeypatch.setattr(advising, "measure", lambda *_, **__: pytest.fail("measured"))
    found = advise(files, sample=False)
    assert found.sample is None and found.unmeasured == "not asked for"
    assert not any(one.gains for one in found.advice)
    assert found["engine"].unmeasured == found["chunks"].unmeasured == "not asked for"
    assert "nothing was measured: not asked for" in str(found)


def test_the_machine_is_that_which_is_told(files):
    found = advise(files, workers=3, threads=2, memory="4 GB", sample=False)
    assert found.machine == Machine(3, 2, 4 * 10**9)
    assert "3 processes with 2 threads and 3.73 GiB each" in str(found)
    assert advise(files, memory=2**30, sample=False).machine.memory == 2**30


@pytest.mark.parametrize(
    "wrong",
    [{"access": "maps"}, {"workers": 0}, {"threads": -1}, {"memory": "4"}, {"memory": 0}],
)
def test_what_has_no_meaning_is_refused(files, wrong):
    with pytest.raises(UsageError):
        advise(files, **wrong)


def test_too_little_time_is_told(files):
    found = advise(files, seconds=0)
    assert found.sample is None and found["engine"].unmeasured == found.unmeasured != ""


def test_files_in_groups(tmp_path):
    path = write(tmp_path / "grouped.nc", group="model")
    found = advise(path, seconds=120)
    assert found.sample is not None, found.unmeasured
    assert found["chunks"].about == "/model/t2m"
    for key in ("open", "chunks"):
        assert "t2m" in opened(found[key].code, [path])


def test_files_of_the_library_alone(tmp_path):
    path = str(tmp_path / "names.nc")
    with netCDF4.Dataset(path, "w") as root:
        root.createDimension("x", 3)
        root.createVariable("name", str, ("x",))[:] = np.array(["a"] * 3, object)
    found = advise(path)
    assert found.sample is None and "decoded here" in found.unmeasured
    assert found["engine"].value == "netcdf4"
    assert "name" in opened(found["open"].code, [path])


def test_a_variable_with_one_dimension_twice_is_not_measured(tmp_path):
    path = str(tmp_path / "square.nc")
    with netCDF4.Dataset(path, "w") as root:
        root.createDimension("x", 8)
        root.createVariable("covariance", "f4", ("x", "x"))[:] = 1
    with pytest.warns(UserWarning):
        found = advise(path)
    assert found.sample is None


def test_files_that_differ_are_told(files, tmp_path):
    other = write(tmp_path / "other.nc", 4)
    with netCDF4.Dataset(other, "a") as root:
        root.createVariable("more", "f4", ("lat", "lon"))[:] = 1
    (note,) = advise([*files, other], sample=False).notes
    assert note == f"{other} is laid out otherwise than {files[0]}"
    assert advise(files, sample=False).notes == ()


def test_a_bad_file_in_the_sample_takes_nothing_with_it(files):
    sidecar.forget()
    paths = [files[0], files[1], files[0], files[2]]
    found_before = advise(paths, sample=False)
    os.truncate(files[1], Path(files[1]).stat().st_size // 2)
    found = advise([files[0], files[1], files[2], files[2]], seconds=120)
    assert found.sample is None and "could not be read" in found.unmeasured
    assert found["chunks"].value == found_before["chunks"].value


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        advise(str(tmp_path / "absent.nc"))
    with pytest.raises(HpclaunchError):
        advise([])


# the sample


@given(st.data(), st.lists(st.integers(1, 300), min_size=2, max_size=4), st.sampled_from(ACCESSES))
def test_a_region_is_whole_blocks_below_the_limit(data, shape, access):
    block = [data.draw(st.integers(1, n)) for n in shape]
    limit = data.draw(st.integers(1, 10**7))
    region = region_of(shape, block, 4, limit, access)
    if math.prod(block) * 4 > limit:
        assert region is None
        return
    assert region is not None and math.prod(region) * 4 <= limit
    assert all(r % b == 0 or r == n for r, b, n in zip(region, block, shape, strict=True))


@given(st.sampled_from(ACCESSES), st.integers(0, 20))
def test_selections_lie_in_the_region_and_leave_what_is_wanted(access, turn):
    dims, region = ("t", "z", "y", "x"), (7, 1, 40, 3)
    for point in points_of(dims, region, access, turn):
        assert set(point) == {"map": {"t", "z"}, "series": {"z", "y", "x"}, "all": set()}[access]
        assert all(0 <= at < region[dims.index(dim)] for dim, at in point.items())


def test_the_bytes_under_a_region():
    layout = chunked((4, 20, 20), (2, 10, 10))
    every = stored_ranges(layout, (4, 20, 20))
    assert len(every) == 8 and sum(size for _, size in every) == layout.stored
    assert len(stored_ranges(layout, (1, 20, 20))) == 4
    ((_, size),) = stored_ranges(contiguous((10, 10)), (5, 10))
    assert size == 5 * 10 * contiguous((10, 10)).dtype.itemsize


def test_every_way_has_its_turn_in_each_round():
    order: list[str] = []

    def trial(name: str, turn: int) -> float:
        order.append(name)
        return float(turn)

    times = in_turns({"a": trial, "b": trial}, deadline=math.inf, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert times == {"a": [0, 1, 2], "b": [0, 1, 2]}
    assert in_turns({"a": trial, "b": trial}, deadline=-math.inf, rounds=3) == {"a": [], "b": []}


def test_a_gain_is_told_only_where_the_rounds_agree():
    def told(advised, other):
        return gain_of(advised, other, "it").told

    assert told([1, 1, 2], [3, 2, 5]) == "faster"
    assert told([2, 2], [1, 1.5]) == "slower"
    assert told([1, 2, 1], [3, 1, 3]) == "could not tell"
    assert told([1], [9]) == "could not tell"
    assert gain_of([], [1], "it") is None
    one = gain_of([1, 2, 1], [3, 4, 4], "it")
    assert (one.ratio, one.low, one.high, one.rounds) == (3, 2, 4, 3)


def test_the_page_cache_is_asked_without_reading(files):
    Path(files[0]).read_bytes()
    assert trials.warm([files[0]], [(0, 10), (4096, 10)]) in (None, 1.0)
    assert trials.warm([files[0]], []) is None


# verdicts


def sample_of(region: tuple[int, ...] = (4, 20, 20), **times: list[float]) -> Sample:
    rounds = len(times[ADVISED])
    every = {name: tuple(one) for name, one in times.items()}
    return Sample("v", ("f",), region, 100, 100, 2, None, rounds, 1.0, every, {})


ROOM = Machine(memory=2**30)


def verdict(
    layout=None, region=(4, 20, 20), machine=ROOM, **times: list[float]
) -> dict[str, Advice]:
    layout = layout or chunked((4, 20, 20), (2, 10, 10))
    facts = describe(index(variable("v", layout)))
    (leader,) = facts.variables
    rules = (
        Advice("engine", "hpclaunch", "rule"),
        Advice("chunks", dict.fromkeys(leader.dims, 20), "rule", "v"),
        Advice("index", "hpclaunch data index FILE...", "rule"),
    )
    found = judged(rules, sample_of(region, **times), leader, machine, index=lambda: "no cache")
    return {one.key: one for one in with_code(found, "all", "v")}


@pytest.mark.parametrize("access", ACCESSES)
def test_files_are_to_be_written_as_the_advice_counts(access):
    (_, told) = with_code([Advice("rechunk", {"x": 2}, "r", "v")], access, None)
    assert told.code == "hpclaunch data rechunk SRC DST --access all"


def test_a_rule_that_won_stays():
    found = verdict(advised=[1, 1], tuned=[3, 4], usual=[9, 9], pieces=[2, 3])
    assert found["engine"].value == "hpclaunch" and len(found["engine"].gains) == 2
    assert found["chunks"].gains[0].ratio == 2.5
    assert found["index"].unmeasured == "no cache"
    assert found["open"].code == 'hpclaunch.storage.open_mfdataset(paths, access="all")'


def test_an_engine_that_won_is_advised_instead():
    found = verdict(advised=[2, 2], tuned=[1, 1], usual=[9, 9], pieces=[2, 3])
    assert found["engine"].value == "netcdf4" and "faster on the sample" in found["engine"].reason
    assert set(found["chunks"].value.values()) == {-1}
    assert found["open"].code == found["chunks"].code and 'engine="netcdf4"' in found["open"].code


@pytest.mark.parametrize(
    ("region", "machine"), [((2, 20, 20), ROOM), ((4, 20, 20), Machine(threads=8, memory=2**14))]
)
def test_whole_files_are_not_advised_where_they_were_not_tried_or_do_not_fit(region, machine):
    times = {"advised": [2, 2], "tuned": [1, 1], "usual": [9, 9], "pieces": [1, 1]}
    found = verdict(region=region, machine=machine, **times)
    assert found["engine"].value == "netcdf4"
    assert (set(found["chunks"].value.values()), found["chunks"].reason) == ({20}, "rule")
    assert found["chunks"].gains == () and "sample in one block" in found["chunks"].unmeasured
    times = {"advised": [2, 2], "tuned": [3, 3], "usual": [9, 9], "pieces": [1, 1]}
    plain = contiguous((4, 20, 20))
    assert set(verdict(plain, region, machine, **times)["chunks"].value.values()) == {20}
    assert list(verdict(plain, **times)["chunks"].value.values()) == [4, 20, 20]


def test_chunks_that_won_are_advised_instead():
    found = verdict(advised=[2, 2], tuned=[3, 3], usual=[9, 9], pieces=[1, 1])
    assert list(found["chunks"].value.values()) == [2, 10, 10]
    assert found["engine"].value == "hpclaunch" and 'engine="hpclaunch"' in found["open"].code


def test_rounds_that_do_not_agree_change_nothing():
    found = verdict(advised=[2, 2], tuned=[1, 3], usual=[9, 9], pieces=[1, 3])
    assert found["engine"].value == "hpclaunch"
    assert found["chunks"].reason == "rule" and found["chunks"].gains[0].told == "could not tell"


def test_what_claims_a_gain_without_one_says_why():
    assert not_tried(Advice("stripes", "lfs", "r"), "x").unmeasured.startswith("files would")
    assert not_tried(Advice("engine", "hpclaunch", "r"), "x").unmeasured == "x"
    assert not_tried(Advice("workers", None, "r"), "x").unmeasured == ""


# what opening costs


def test_the_index_is_tried(files, monkeypatch):
    facts = describe(sidecar.load(files[0]))
    assert isinstance(costs.index_gain(facts), Gain)
    monkeypatch.setattr(costs, "_MOST_CHUNKS", 5)
    assert "more than 5 chunks" in costs.index_gain(facts)


def test_a_lock_is_tried(files, monkeypatch):
    assert costs.lock_cost(files[0]) > 0
    import fcntl

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert costs.lock_cost(files[0]) == "Function not implemented"
    reason = advise(files, sample=False)["HDF5_USE_FILE_LOCKING"].reason
    assert reason.endswith("a lock was refused here: Function not implemented")


# typed


def typed(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["data", "advise", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_advise_in_words(capsys, files):
    code, out, err = typed(
        capsys, *files, "--access", "series", "--workers", "2", "--memory", "4 GB"
    )
    assert code == 0 and "reading a part of the files" in err
    assert out.startswith(f"3 files like {files[0]}\n") and "2 processes" in out
    for words in ("open: ", "engine: ", "chunks of t2m: ", "measured on t2m", "page cache: "):
        assert words in out


def test_advise_by_the_rules_as_json(capsys, files):
    code, out, err = typed(capsys, *files, "--no-measure", "--json", "--threads", "3")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["paths"] == files and document["machine"]["threads"] == 3
    assert document["sample"] is None and document["unmeasured"] == "not asked for"
    assert document["access"] == "all"
    keys = {"key", "value", "reason", "about", "code", "gains", "unmeasured"}
    assert all(set(one) == keys for one in document["advice"])


def test_a_measured_document(capsys, files):
    document = json.loads(typed(capsys, files[0], "--json")[1])
    assert document["sample"]["times"][ADVISED] and document["sample"]["times"][PIECES]
    (engine,) = [one for one in document["advice"] if one["key"] == "engine"]
    assert {"ratio", "low", "high", "against", "rounds", "told"} == set(engine["gains"][0])


def test_advise_says_what_is_wrong(capsys, files, tmp_path):
    code, out, err = typed(capsys, str(tmp_path / "absent.nc"), "--no-measure")
    assert (code, out) == (1, "") and "absent.nc: No such file" in err
    assert typed(capsys, files[0], "--memory", "4")[0] == 2
    bad = tmp_path / "bad.nc"
    bad.write_text("no data\n" * 100)
    code, _, err = typed(capsys, str(bad))
    assert code == 1 and "neither a NetCDF-4 nor an HDF5 file" in err


def test_the_public_names():
    assert hpclaunch.storage.advise is advise and hpclaunch.storage.Advised is Advised
