"""`hpclaunch.storage.bench` and `hpclaunch data bench`: small ones; speeds are not judged."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpclaunch import storage
from hpclaunch.cli import main
from hpclaunch.errors import StorageError
from hpclaunch.storage import bench_files, bench_netcdf, bench_plot, bench_writing
from hpclaunch.storage import benchmark as module
from hpclaunch.storage.bench_compare import compare
from hpclaunch.storage.bench_result import Benchmark, Measure, read_result
from hpclaunch.storage.bench_room import drop, is_full, largest_size, private, sync
from hpclaunch.storage.bench_rounds import Case, Clock, Findings, measure
from hpclaunch.storage.bench_words import meaning

pytestmark = pytest.mark.pure

MIB = 2**20


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A small benchmark, and what is left of it."""
    folder = tmp_path_factory.mktemp("bench")
    found = storage.bench(folder, seconds=60, size=MIB, files=10, rounds=1)
    assert list(folder.iterdir()) == []
    return found


@pytest.fixture
def few(monkeypatch):
    """Of what is optional only Dask is installed."""
    for place in (bench_netcdf, bench_writing):
        monkeypatch.setattr(place, "find_spec", lambda name: True if name == "dask" else None)


def made(cold: bool | None = True, **rates: tuple[float, ...]) -> Benchmark:
    """A result with these rates; ``_`` stands for the first ``/``."""
    facts = {
        "machine": {"node": "n1", "cores": 4, "versions": {"xarray": "1"}},
        "place": {"path": "/x", "title": "Lustre"},
        "sizes": {"large": MIB, "field": 1000, "stored": {"deflated": 500}},
    }
    measures = tuple(
        Measure(key.replace("_", "/", 1), key, "MiB/s", some, cold) for key, some in rates.items()
    )
    return Benchmark(facts, measures, {})


def test_a_benchmark_measures_every_task(result):
    tasks = {one.task for one in result.measures}
    assert tasks >= {"write", "sequential", "random", "files", "all", "map", "series", "plain"}
    assert tasks >= {"open", "store"}
    for task in ("all", "map", "series", "plain", "open"):
        assert {f"{task}/hpclaunch", f"{task}/netcdf4"} <= {one.key for one in result.measures}
    assert all(one.low > 0 for one in result.measures)
    assert not any("failed" in why for why in result.left_out.values())


def test_small_files_are_told_to_be_warm(result):
    cold = {one.key: one.cold for one in result.measures if one.task == "files"}
    assert cold == {
        "files/create": None,
        "files/stat": False,
        "files/open": False,
        "files/remove": None,
    }
    assert any("out of its memory" in sentence for sentence in meaning(result))


def test_a_file_is_opened_once_in_a_round(few, tmp_path):
    opened = []
    field = bench_netcdf.make_field(MIB)
    ways = [bench_netcdf.Reader("x", "deflated", lambda path: opened.append(path) or field)]
    found = bench_netcdf.stores(field, tmp_path)
    (case,) = [one for one in bench_netcdf.read_cases(field, found, ways) if one.task == "open"]
    assert case.run(Clock(60)) == len(opened) == 1


def test_a_benchmark_tells_of_machine_place_and_sizes(result):
    assert result.facts["machine"]["cores"] >= 1
    assert result.facts["machine"]["versions"]["xarray"]
    assert result.facts["place"]["kind"]
    assert result.facts["sizes"]["large"] == MIB
    assert result.facts["sizes"]["stored"]["deflated"] < result.facts["sizes"]["stored"]["plain"]
    assert all(isinstance(one, str) for one in meaning(result))


def test_a_result_comes_back_from_json(result, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result.to_dict()))
    assert read_result(path) == result


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "hpclaunch-bench-1"}', '{"format": "other"}',
     '{"format": "hpclaunch-bench-1", "facts": {}, "left_out": {}, "notes": [], "measures": '
     '[{"key": "a/b", "what": "", "unit": "", "cold": null, "rates": [0]}]}'],
)  # fmt: skip
def test_what_is_no_result_is_refused(text, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=r"result\.json is no result of a benchmark"):
        read_result(path)


def test_what_is_not_installed_is_said_and_the_users_index_cache_stays(few, monkeypatch, tmp_path):
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(tmp_path / "index"))
    (tmp_path / "data").mkdir()
    found = storage.bench(tmp_path / "data", seconds=60, size=MIB, files=1, rounds=1)
    assert found.left_out == {
        "all/h5netcdf": "not installed: h5netcdf",
        "all/zarr": "not installed: zarr",
        "all/virtual zarr": "not installed: zarr, kerchunk",
        "store/zarr": "not installed: zarr",
    }
    assert os.environ["HPCLAUNCH_INDEX_CACHE"] == str(tmp_path / "index")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "became full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "became full"),
        (RuntimeError("NetCDF: HDF error"), "NetCDF library cannot write"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_errors_are_told_and_everything_is_removed(error, words, monkeypatch, tmp_path):
    def fail(*_):
        raise error

    monkeypatch.setattr(module, "stores", fail)
    with pytest.raises(StorageError, match=words):
        storage.bench(tmp_path, seconds=60, size=MIB, files=2, rounds=1)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_gets_full_inside_a_case_ends_everything(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(bench_files, "_write", full)
    with pytest.raises(StorageError, match="quota there became full"):
        storage.bench(tmp_path, seconds=60, size=MIB, files=2, rounds=1)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_fails_is_left_out_with_its_reason(few, monkeypatch, tmp_path):
    def fail(*_):
        raise ValueError("no such chunk")

    monkeypatch.setattr(bench_netcdf, "_maps", fail)
    found = storage.bench(tmp_path, seconds=60, size=MIB, files=2, rounds=1)
    assert found.left_out["map/netcdf4"] == "it failed: ValueError: no such chunk"
    assert found.get("map/netcdf4") is None
    assert found.get("all/netcdf4") is not None


def test_a_reader_that_gives_other_values_is_left_out(few, monkeypatch, tmp_path):
    right = bench_netcdf._open
    monkeypatch.setattr(bench_netcdf, "_open", lambda *given: right(*given) + 1)
    found = storage.bench(tmp_path, seconds=60, size=MIB, files=2, rounds=1)
    for task in ("all", "map", "series", "plain"):
        assert "other values than were written" in found.left_out[f"{task}/netcdf4"]
        assert found.get(f"{task}/netcdf4") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_nothing(number, tmp_path):
    program = [sys.executable, "-m", "hpclaunch", "data", "bench", str(tmp_path), "--size", "4 MiB"]
    running = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".hpclaunch-bench-*/large")):
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.02)
        running.send_signal(number)
        running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_signals_are_handled_as_before_afterwards(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with private(tmp_path) as own:
        assert own.stat().st_mode & 0o777 == 0o700
    assert signal.getsignal(signal.SIGTERM) is before
    assert not own.exists()


def statvfs(free: int, inodes: int = 10**6):
    return lambda _: SimpleNamespace(
        f_bavail=free // 4096, f_frsize=4096, f_favail=inodes, f_files=10**7
    )


def test_a_directory_that_is_nearly_full_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "statvfs", statvfs(100 * MIB))
    with pytest.raises(StorageError, match="too full for a benchmark: 100 MiB are free"):
        storage.bench(tmp_path)
    with pytest.raises(StorageError, match="with a size of 64 MiB") as told:
        storage.bench(tmp_path, size=64 * MIB)
    assert "--size 1MiB " in told.value.hint  # 10 % are for this and 1000 small files
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_a_small_share_of_what_is_free(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "statvfs", statvfs(10000 * MIB))
    assert 4 * largest_size(tmp_path, None, 100) <= 200 * MIB
    assert largest_size(tmp_path, 249 * MIB, 100) == 249 * MIB
    monkeypatch.setattr(os, "statvfs", statvfs(10**15))
    assert largest_size(tmp_path, None, 100) == 1024 * MIB
    monkeypatch.setattr(os, "statvfs", statvfs(10**15, inodes=1000))
    with pytest.raises(StorageError, match="1000 more files only"):
        largest_size(tmp_path, None, 100)


def test_small_files_count_by_the_blocks_they_take(monkeypatch, tmp_path):
    found = SimpleNamespace(f_bavail=1000, f_frsize=MIB, f_favail=10**6, f_files=10**7)
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    assert largest_size(tmp_path, None, 0) == 5 * MIB
    assert largest_size(tmp_path, None, 4) == 4 * MIB
    with pytest.raises(StorageError, match="20 MiB of small files"):
        largest_size(tmp_path, None, 20)


def test_a_benchmark_stays_inside_of_its_footprint(few, monkeypatch, tmp_path):
    used = []

    def looking(run):
        def look(*arguments):
            done = run(*arguments)
            used.append(sum(one.stat().st_size for one in tmp_path.rglob("*") if one.is_file()))
            return done

        return look

    for place, name in ((bench_files, "_write"), (bench_writing, "_run")):
        monkeypatch.setattr(place, name, looking(getattr(place, name)))
    storage.bench(tmp_path, seconds=60, size=8 * MIB, files=2, rounds=1)
    assert 8 * MIB < max(used) < 32 * MIB


def test_a_file_that_was_dropped_is_found_out_of_the_cache_or_said_to_be_warm(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB))
    sync(path)
    dropped = drop(path)
    memory = storage.place(tmp_path).kind.name in ("tmpfs", "overlay")
    assert dropped is True or memory


def test_a_full_disk_is_found_below_other_errors():
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise RuntimeError("HDF error") from error
    except RuntimeError as error:
        assert is_full(error)
    assert not is_full(OSError(errno.EIO, "broken"))
    assert not is_full(OSError(errno.EFBIG, "File too large"))
    assert is_full(OSError("Can't write data (file write failed: errno = 122, error message)"))


def test_an_error_of_netcdf_is_that_of_a_full_disk_where_it_is_full(monkeypatch, tmp_path):
    error = RuntimeError("NetCDF: HDF error")
    assert not is_full(error, tmp_path)
    monkeypatch.setattr(os, "statvfs", statvfs(MIB // 2))
    assert is_full(error, tmp_path) and not is_full(error)
    assert not is_full(RuntimeError("NetCDF: Bad chunk sizes"), tmp_path)

    def fail(_):
        raise error

    with pytest.raises(RuntimeError, match="HDF error"):
        measure([Case("t/a", "a", "1/s", fail)], Clock(9), Findings(), directory=tmp_path)


def test_rounds_are_interleaved_and_end_with_their_time():
    order = []

    def run(name):
        return lambda _: order.append(name) or 1.0

    found = Findings()
    cases = [Case(f"t/{name}", name, "1/s", run(name)) for name in "abc"]
    measure(cases, Clock(100), found, rounds=2)
    rounds = ["".join(order[:3]), "".join(order[3:])]
    assert rounds[0] == "abc" and rounds[1] != "abc" and sorted(rounds[1]) == list("abc")
    assert [len(one.rates) for one in found.measures] == [2, 2, 2]
    late = Findings()
    measure(cases, Clock(0), late)
    assert late.left_out == dict.fromkeys(("t/a", "t/b", "t/c"), "the time was up")


def test_results_are_compared_by_ratio_and_spread():
    old = made(
        all_netcdf4=(10, 12, 11),
        map_netcdf4=(10, 11, 9),
        open_x=(4,),
        files_open=(9, 8),
        files_stat=(1,),
    )
    new = made(
        all_netcdf4=(22, 20, 24),
        map_netcdf4=(10, 12),
        store_x=(1,),
        files_open=(2, 3),
        files_stat=(2, 3),
    )
    new.facts["machine"] |= {"node": "n2"}
    found = compare(old, new)
    told = {one.key: (one.ratio, one.verdict) for one in found.changes}
    assert told == {
        "all/netcdf4": (2.0, "faster"),
        "map/netcdf4": (1.1, "same"),
        "files/open": (pytest.approx(2.5 / 8.5), "slower"),
        "files/stat": (2.5, "unknown"),
    }
    assert found.only_old == ("open/x",) and found.only_new == ("store/x",)
    assert found.notes == ("another node: n1 then, n2 now",)


def test_words_say_what_bounds_reading():
    fast = made(**{"sequential_8 MiB": (1000.0,), "all_netcdf4": (400.0,)})
    assert "bound by decoding" in meaning(fast)[0]
    assert meaning(made(None, **{"sequential_8 MiB": (1000.0,), "all_netcdf4": (400.0,)})) == ()
    slow = made(**{"sequential_8 MiB": (100.0,), "all_netcdf4": (190.0,)})
    assert "bound by the file system" in meaning(slow)[0]


def test_words_keep_still_about_what_is_within_the_spread():
    close = made(all_hpclaunch=(10.0, 20.0), all_netcdf4=(9.0, 11.0))
    assert meaning(close) == ()
    clear = made(all_hpclaunch=(40.0, 42.0), all_netcdf4=(9.0, 11.0))
    once = made(all_hpclaunch=(40.0,), all_netcdf4=(9.0, 11.0))
    assert meaning(once) == ()
    assert meaning(clear) == ("engine hpclaunch reads a whole field 4.1 times as fast as netcdf4",)
    requests = made(**{"random_8 MiB": (900.0, 900.0), "random_64 KiB": (90.0, 90.0)})
    assert "10 times as many bytes a second at 8 MiB as at 64 KiB" in meaning(requests)[0]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_plot_is_drawn(ending, result, tmp_path):
    path = bench_plot.plot(result, tmp_path / f"plot.{ending}")
    start = path.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if ending == "png" else b"<?xml" in start


def test_a_plot_that_cannot_be_made_is_told_before_measuring(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench_plot, "find_spec", lambda _: None)
    for name, words in (("p.png", "pip install matplotlib"), ("p.pdf", ".png or .svg")):
        assert main(["data", "bench", str(tmp_path), "--plot", str(tmp_path / name)]) == 1
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_plot_that_may_not_be_written_is_told_before_measuring(monkeypatch, tmp_path):
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(StorageError, match=r"dir\.png cannot be written"):
        bench_plot.check_plot(tmp_path / "dir.png")
    (tmp_path / "old.png").touch()
    for name, refused in (("new.png", tmp_path), ("old.png", tmp_path / "old.png")):
        monkeypatch.setattr(os, "access", lambda path, _, refused=refused: path != refused)
        with pytest.raises(StorageError, match="cannot be written"):
            bench_plot.check_plot(tmp_path / name)


def test_a_result_is_printed_before_a_plot_fails(monkeypatch, tmp_path, capsys):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(made(all_netcdf4=(10.0, 11.0)).to_dict()))

    def fail(*_):
        raise StorageError("no room for a plot")

    monkeypatch.setattr(bench_plot, "plot", fail)
    typed = ["data", "bench", "--compare", str(path), str(path), "--plot", str(tmp_path / "p.png")]
    assert main(typed) == 1
    told = capsys.readouterr()
    assert "NEW / OLD" in told.out and "no room for a plot" in told.err


def test_the_command_measures_prints_and_compares(few, tmp_path, capsys, result):
    old = tmp_path / "old.json"
    old.write_text(json.dumps(result.to_dict()))
    (tmp_path / "dir").mkdir()
    typed = ["data", "bench", "--seconds", "1", "--size", "1 MiB"]
    assert main([*typed, str(tmp_path / "dir"), "--compare", str(old)]) == 0
    said = capsys.readouterr().out
    assert "What this means:" in said and "NEW / OLD" in said
    assert main([*typed, "--json", "--compare", str(old), str(tmp_path / "dir")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["comparison"]["changes"] and "meaning" in document
    assert Benchmark.from_dict(document).measures
    assert list((tmp_path / "dir").iterdir()) == []


def test_two_results_are_compared_without_measuring(tmp_path, capsys):
    paths = []
    for name, rate in (("old", 10.0), ("new", 30.0)):
        paths.append(str(tmp_path / f"{name}.json"))
        Path(paths[-1]).write_text(json.dumps(made(all_netcdf4=(rate, rate)).to_dict()))
    assert main(["data", "bench", "--compare", *paths]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "netcdf4" in line]
    assert row.split()[-2:] == ["3.00", "faster"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "which directory"),
        (["--compare", "a.json"], "which directory"),
        (["--compare", "a", "b", "c"], "two results at most"),
        (["x", "--compare", "a", "b"], "without measuring"),
        (["x", "--seconds", "0"], "--seconds 0"),
        (["x", "--size", "large"], "--size"),
    ],
)
def test_wrong_usage_is_told(arguments, words, capsys):
    assert main(["data", "bench", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_directory_that_is_none_is_told(tmp_path, capsys):
    assert main(["data", "bench", str(tmp_path / "none")]) == 1
    assert "is no directory" in capsys.readouterr().err
