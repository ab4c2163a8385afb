"""`storage.bench` and `data bench --workers` from real Dask workers; speeds are not judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from hpclaunch import storage
from hpclaunch.cli import main
from hpclaunch.errors import StorageError
from hpclaunch.storage import bench_crew, bench_workers
from hpclaunch.storage.bench_compare import compare
from hpclaunch.storage.bench_crew import Crew, muster
from hpclaunch.storage.bench_result import Benchmark, Measure
from hpclaunch.storage.bench_words import meaning

pytestmark = pytest.mark.local

MIB = 2**20
WHO = ("all workers", "one worker")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of two workers, which are processes."""
    place = str(tmp_path_factory.mktemp("workers"))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", local_directory=place
        ) as cluster,
        Client(cluster) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def result(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """A small benchmark, and what is left of it."""
    folder = tmp_path_factory.mktemp("bench")
    found = storage.bench(folder, seconds=60, size=MIB, files=10, rounds=2, client=client)
    assert list(folder.iterdir()) == []
    return found


def test_all_workers_and_one_measure_the_same(result: Benchmark) -> None:
    assert result.left_out == {}
    tasks = ("write/8 MiB", "sequential/8 MiB", "random/64 KiB", "files/create", "all/hpclaunch")
    for task in (*tasks, "all/netcdf4"):
        for who in WHO:
            assert len(result.get(f"{task}, {who}").rates) == 2
    assert result.facts["workers"]["count"] == 2
    assert len(result.facts["workers"]["nodes"]) == 1
    assert result.facts["sizes"]["large"] == MIB
    assert "all workers are on one node: more nodes may get more" in result.notes


def test_a_worker_reads_what_another_node_has_written(client: Client, tmp_path: Path) -> None:
    crew = Crew(client, ("a", "b", "c"), ("n1", "n2", "n1"))
    calls = []

    def each(self: Crew, do: object, given: list[tuple[str, ...]]) -> list[float]:
        calls.append((self.addresses, do, given))
        return [0.0] * len(given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Crew, "each", each)
        cases = bench_workers.file_cases(crew, tmp_path, MIB)
        written = [Path(path).name for path, *_ in calls[0][2]]
        calls.clear()
        next(one for one in cases if one.key == "sequential/8 MiB, all workers").run(
            bench_workers.Clock(1)
        )
    ((addresses, _, given),) = calls
    assert addresses == ("a", "b", "c")
    assert [Path(path).name for path, _ in given] == [*written[1:], written[0]]


def test_workers_of_different_nodes_follow_each_other() -> None:
    nodes = {"n1": ["a1", "a2", "a3"], "n2": ["b1"], "n3": ["c1", "c2"]}
    found = [address for address, _ in bench_crew._in_turn(nodes)]
    assert found == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_a_directory_that_a_worker_does_not_see_is_told(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_crew, "_seen", _sees_another)
    with pytest.raises(StorageError, match=r"is not the same directory on node elsewhere") as told:
        storage.bench(tmp_path, seconds=9, client=client)
    assert "all nodes share" in str(told.value.hint)
    assert list(tmp_path.iterdir()) == []


def _sees_another(_mark: str) -> tuple[str, bytes]:
    return "elsewhere", b"of another"


def test_a_cluster_without_workers_is_told(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        pytest.raises(StorageError, match="no workers") as told,
    ):
        muster(client, tmp_path)
    assert "hpclaunch scale" in str(told.value.hint)


def test_a_task_that_fails_is_left_out_with_its_reason(client: Client, tmp_path: Path) -> None:
    crew = muster(client, tmp_path)
    (case, *_) = bench_workers.field_cases(crew, tmp_path / "none.nc", 4)
    with pytest.raises(FileNotFoundError):
        case.run(bench_workers.Clock(5))


def test_words_say_what_more_workers_bring(result: Benchmark) -> None:
    measures = (
        Measure("sequential/8 MiB, all workers", "", "MiB/s", (400.0, 410.0)),
        Measure("sequential/8 MiB, one worker", "", "MiB/s", (100.0, 105.0)),
        Measure("files/create, all workers", "", "1/s", (100.0, 99.0)),
        Measure("files/create, one worker", "", "1/s", (100.0, 101.0)),
        Measure("all/hpclaunch, all workers", "", "MiB/s", (900.0, 910.0)),
        Measure("all/netcdf4, all workers", "", "MiB/s", (300.0, 310.0)),
    )
    assert meaning(replace(result, measures=measures)) == (
        "2 workers together read large files 4.0 times as fast as one",
        "2 workers together create small files no faster than one",
        "all workers read NetCDF 3.0 times as fast by engine hpclaunch as by netcdf4",
    )


def test_another_number_of_workers_is_noted_in_a_comparison(result: Benchmark) -> None:
    more = replace(result, facts={**result.facts, "workers": {"count": 8, "nodes": ["a", "b"]}})
    notes = compare(result, more).notes
    assert "another number of workers: 2 then, 8 now" in notes


def test_the_command_measures_from_the_workers_of_the_session(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "bench", str(tmp_path), "--seconds", "5", "--size", "1 MiB"]
    with dask.config.set({"scheduler-address": client.scheduler.address}):
        assert main([*command, "--workers", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["facts"]["workers"]["count"] == 2
    assert main([*command, f"--workers={client.scheduler.address}"]) == 0
    told = capsys.readouterr().out
    assert "from 2 workers on " in told.splitlines()[0]
    assert "sequential read, 8 MiB, 2 workers on 1 node" in told
    assert list(tmp_path.iterdir()) == []


def test_no_session_and_no_scheduler_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_crew, "_CONNECT", 0.5)
    assert main(["data", "bench", str(tmp_path), "--workers"]) == 2
    assert "there is no session here" in capsys.readouterr().err
    assert main(["data", "bench", str(tmp_path), "--workers=tcp://127.0.0.1:1"]) == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
