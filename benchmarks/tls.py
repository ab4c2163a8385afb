"""TLS against plain tcp between Dask's processes, on computations that move their data about.

Two workers of one thread each, processes of this machine, in a process tree of its own for each
way and round; the configuration is that of a session. ``shuffle`` sends all of a table from every
worker to every other (p2p), ``transpose`` adds a matrix to its transpose, ``move`` only brings
arrays from one worker to the other. On loopback there is no network that would hide what TLS costs.

The machine is the limit, so processor seconds (of scheduler, client and workers) say what that is.
A story is told three times in a row: the quickest counts, which others on the machine disturbed
least, and the processor seconds of one on average.

Compression is not among the settings: Dask has none between processes of the same host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.table import Table
from benchmarks.tls_socket import cost_of_a_connection

ROUNDS = 8
_TIMES = 3
_PEER = "plain tcp"
_ROWS = 90 * 86400  # a row for every second of three months
_STORIES = {
    "shuffle": "a table of 0.4 GB, shuffled",
    "transpose": "a matrix of 0.8 GB plus its transpose",
    "move": "1.0 GB from one worker to the other",
}


def _comm(**values: Any) -> dict[str, Any]:
    """Settings of ``distributed.comm`` on top of the session's own."""
    return {"distributed": {"comm": values}}


def _tls12(ciphers: str) -> dict[str, Any]:
    """Python chooses among ciphers only up to TLS 1.2."""
    return _comm(tls={"ciphers": ciphers, "max-version": 1.2})


WAYS: dict[str, dict[str, Any]] = {
    _PEER: {},
    "tls, as sessions have it": {},
    "tls 1.2, AES-128-GCM": _tls12("ECDHE-ECDSA-AES128-GCM-SHA256"),
    "tls 1.2, AES-256-GCM": _tls12("ECDHE-ECDSA-AES256-GCM-SHA384"),
    "tls 1.2, CHACHA20-POLY1305": _tls12("ECDHE-ECDSA-CHACHA20-POLY1305"),
    "tls, shard 1 MiB": _comm(shard="1 MiB"),
    "tls, shard 16 MiB": _comm(shard="16 MiB"),
    "tls, shard 256 MiB": _comm(shard="256 MiB"),
    "tls, offload from 1 MiB": _comm(offload="1 MiB"),
    "tls, no offload": _comm(offload=False),
}


def run(rounds: int) -> list[Table]:
    """Tables of a connection, of the computations, and (half the rounds) of settings."""
    names = list(WAYS)
    tables = [*_connections(rounds), *_computations(names[:2], list(_STORIES), rounds)]
    return [*tables, *_computations(names, ["move"], max(1, rounds // 2))]


def _computations(names: list[str], stories: list[str], rounds: int) -> list[Table]:
    """Tables of the stories in these ways; each round begins with another way."""
    found = []
    for number in range(rounds):
        first = number % len(names)
        turn = {name: _in_a_process(name, stories) for name in names[first:] + names[:first]}
        found.append({name: turn[name] for name in names})
    return [
        Table(
            f"{_STORIES[story]}, {unit}",
            [{name: one[name][story][unit] for name in names} for one in found],
            _PEER,
        )
        for story in stories
        for unit in ("seconds", "processor seconds")
    ]


def _connections(rounds: int) -> list[Table]:
    """What one connection costs, without Dask."""
    ways = {_PEER: False, "tls": True}
    with tempfile.TemporaryDirectory() as folder:
        _configure(Path(folder), _PEER)
        found = [
            {name: cost_of_a_connection(Path(folder), tls=tls) for name, tls in ways.items()}
            for _ in range(rounds)
        ]
    titles = {
        "send": "1 GiB through one socket, processor seconds to send",
        "receive": "the same, processor seconds to receive",
        "calls": "the same, calls to receive",
    }
    return [
        Table(title, [{name: one[name][key] for name in ways} for one in found], _PEER)
        for key, title in titles.items()
    ]


def _in_a_process(way: str, stories: list[str]) -> dict[str, dict[str, float]]:
    """``seconds`` and ``processor seconds`` of each story."""
    with tempfile.TemporaryDirectory() as folder:
        _configure(Path(folder), way)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.tls", "tcp" if way == _PEER else "tls", *stories],
            env={**os.environ, "DASK_CONFIG": f"{folder}/dask"},
            capture_output=True,
            text=True,
        )
    if done.returncode != 0:
        raise RuntimeError(f"{way}: {done.stderr}")
    answer: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _configure(folder: Path, way: str) -> None:
    """Write a session's configuration, and what the way changes of it behind that."""
    from hpclaunch.node.daskconfig import Place, settings
    from hpclaunch.node.layout import Layout
    from hpclaunch.node.spec import Session, WorkerJobs
    from hpclaunch.tls import make_credentials

    jobs, insecure = WorkerJobs(cores=1, memory=2 * 10**9), way == _PEER
    session = Session(
        str(folder), "bench", "0", "local", mode="local", jobs=jobs, insecure=insecure
    )
    files = {**make_credentials(), Layout.DASK_SECRET: b"secret"}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    ours = settings(session, Place("127.0.0.1", sys.executable, "", str(folder)))
    (folder / Layout.DASK_FILE).write_text(json.dumps(ours))
    (folder / Layout.DASK_CONFIG / "z.yaml").write_text(json.dumps(WAYS[way]))


def _measure(protocol: str, *stories: str) -> dict[str, dict[str, float]]:
    import dask.array as da
    import dask.datasets
    import psutil
    from distributed import Client, LocalCluster, wait

    def cost(make: Callable[[], Any], story: Callable[[Any], None]) -> dict[str, float]:
        """Of the story on new data each time: what has been moved once lies there."""
        ours = [psutil.Process(), *psutil.Process().children(recursive=True)]

        def used() -> float:
            return sum(sum(one.cpu_times()[:2]) for one in ours)

        seconds, processor = [], []
        for _ in range(_TIMES):
            data = make()
            wait(data)
            before, began = used(), time.monotonic()
            story(data)
            seconds.append(time.monotonic() - began)
            processor.append(used() - before)
            del data
        return {"seconds": min(seconds), "processor seconds": sum(processor) / _TIMES}

    def table() -> Any:
        return dask.datasets.timeseries(
            end="2000-03-31", freq="1s", partition_freq="3D", dtypes={"name": int, **_floats()}
        ).persist()

    def matrix() -> Any:
        return da.random.default_rng().random((10_000, 10_000), chunks=(1000, 1000)).persist()

    def arrays() -> Any:
        return [client.submit(_array, one, workers=[here], pure=False) for one in range(32)]

    def shuffle(data: Any) -> None:
        shuffled = data.shuffle("name", shuffle_method="p2p", npartitions=30)
        found = client.compute(shuffled.map_partitions(len)).result()
        assert found.sum() == _ROWS, found

    def transpose(data: Any) -> None:
        client.compute((data + data.T).sum()).result()

    def move(data: Any) -> None:
        moved = [client.submit(len, one, workers=[there]) for one in data]
        assert client.gather(moved) == [4_000_000] * len(data)

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit="4 GB",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        assert cluster.scheduler_address.startswith(f"{protocol}://"), cluster.scheduler_address
        here, there = client.scheduler_info()["workers"]
        client.run(lambda: __import__("dask.dataframe"))
        known = {
            "shuffle": (table, shuffle),
            "transpose": (matrix, transpose),
            "move": (arrays, move),
        }
        return {name: cost(*known[name]) for name in stories}


def _floats() -> dict[str, type]:
    return dict.fromkeys("abcd", float)


def _array(number: int) -> Any:
    import numpy as np

    return np.full(4_000_000, float(number))


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
