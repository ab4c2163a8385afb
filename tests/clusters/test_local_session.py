"""A session with Dask on this machine: who reaches the cluster and its pages, and who does not."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import stat
import time
from pathlib import Path

import pytest

from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import descendants
from tests.clusters.look import ask, bokeh, holder_of, pages, secret_of
from tests.node.live import LOCAL_DASK, TIDY, Kernel, Live, agent, make_session
from tests.node.test_agent import leaks, private

pytestmark = pytest.mark.local


def test_rendezvous_tells_of_the_cluster(live: Live) -> None:
    told = live.json(Layout.RENDEZVOUS)["dask"]
    assert re.fullmatch(r"tls://127\.0\.0\.1:\d+", told.pop("scheduler"))
    assert told == {"mode": "local", "workers": 2, "dashboard": True, "problem": None}


def test_client_without_arguments_computes_on_both_workers(kernel: Kernel) -> None:
    code = """
import dask.array as da
x = da.arange(1_000_000, chunks=10_000)
print(int((x ** 2).sum().compute()))
pids = client.run(lambda: __import__("os").getpid())
print(len(set(pids.values())))
print(client.dashboard_link)
print(sorted({address.split(":")[0] for address in client.scheduler_info()["workers"]}))
"""
    total, processes, link, schemes = kernel.run(code).split("\n", 3)
    assert int(total) == sum(n * n for n in range(1_000_000))
    assert processes == "2"
    assert link == "/dask/status"
    assert schemes.strip() == "['tls']"


def test_relative_paths_mean_the_same_to_notebook_and_worker(kernel: Kernel) -> None:
    here = kernel.run("import os; print(os.getcwd())")
    assert kernel.run("print(*set(client.run(lambda: __import__('os').getcwd()).values()))") == here


def test_a_second_cluster_of_the_user_is_tls_and_locked_too(kernel: Kernel, live: Live) -> None:
    code = """
from dask.distributed import LocalCluster
own = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0")
print(own.scheduler_address, own.scheduler.http_server.port)
"""
    address, port = kernel.run(code).split()
    assert address.startswith("tls://")
    assert ask(int(port), "/status")[0] == 403
    assert ask(int(port), "/status", secret_of(live))[0] == 200
    path = f"/dask-at/{port}/status"
    status, _, body = live.request(path)
    assert status == 200
    channel = bokeh(live, body, path)
    assert '"msgtype":"ACK"' in str(channel.recv()).replace(" ", "")
    channel.close()
    status, headers, _ = live.request(path, token=None)
    assert status == 302 and headers["Location"].startswith("/login")
    assert live.request("/dask-at/1/status")[0] == 404
    kernel.run("own.close()")


def test_modules_beside_a_notebook_are_found_by_workers(kernel: Kernel, live: Live) -> None:
    (Path(live.environment["HOME"]) / "beside_notebook.py").write_text(
        "def ten(x): return 10 * x\n"
    )
    assert (
        kernel.run("import beside_notebook as b; print(client.submit(b.ten, 4).result())") == "40\n"
    )


def scheduler_of(live: Live) -> tuple[str, int]:
    host, port = live.json(Layout.RENDEZVOUS)["dask"]["scheduler"].removeprefix("tls://").split(":")
    return host, int(port)


def test_plain_tcp_to_the_scheduler_is_refused(live: Live) -> None:
    with socket.create_connection(scheduler_of(live), 5) as plain:
        plain.sendall(b"\x01\x00\x00\x00\x00\x00\x00\x00" + b"\x04\x00\x00\x00\x00\x00\x00\x00ping")
        try:
            answer = plain.recv(100)
        except ConnectionResetError:
            answer = b""
    assert b"pickle" not in answer
    assert answer == b"" or answer[0] == 0x15, "not a TLS alert"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_without_our_certificate_is_refused(live: Live, version: ssl.TLSVersion) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    stranger.minimum_version = stranger.maximum_version = version
    with (
        pytest.raises((ssl.SSLError, ConnectionResetError)),
        socket.create_connection(scheduler_of(live), 5) as raw,
        stranger.wrap_socket(raw) as secure,
    ):
        # TLS 1.3 tells the refusal with the first answer.
        assert secure.recv(100) == b"", "the scheduler spoke to a stranger"
        raise ConnectionResetError


def test_everything_on_the_node_is_private(live: Live, kernel: Kernel) -> None:
    live.directory.joinpath(Layout.LOG).chmod(0o600)  # made by the scheduler, not by us
    assert private(live.directory) == []
    kernel.run("import dask")
    node = Path(kernel.run("print(dask.config.get('hpclaunch.node-directory'))").strip())
    assert (node / "dashboard").is_socket()
    # What workers spill carries the user's own umask, as their files do everywhere; nobody else
    # gets as far as that: the directory above it is closed.
    assert stat.S_IMODE(node.stat().st_mode) == 0o700
    assert [one for one in private(node) if "dask-scratch-space" not in one] == []


def test_no_secret_is_shown_to_others(live: Live, kernel: Kernel) -> None:
    kernel.run("client.run(lambda: 1)")
    live.request("/dask/status")
    assert leaks(live) == []


def test_notebook_lives_on_when_the_cluster_dies(tmp_path: Path) -> None:
    directory = make_session(tmp_path / "demo", dask=LOCAL_DASK)
    with agent(directory, tmp_path / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        workers = descendants(holder_of(running))
        os.kill(holder_of(running), signal.SIGKILL)
        deadline = time.monotonic() + 15
        while running.json(Layout.DASK_STATE)["state"] != "dead":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert running.request("/api/status")[0] == 200
        assert "notebooks go on" in running.log
        left = [*workers, *descendants(running.process.pid)]
        assert running.end() == 0
    assert [pid for pid in left if Path(f"/proc/{pid}").exists()] == []


def test_end_closes_the_cluster(tmp_path: Path) -> None:
    directory = make_session(tmp_path / "demo", dask=LOCAL_DASK)
    with agent(directory, tmp_path / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        node_dirs = {path.parent for path in Path("/tmp").glob("hpclaunch-*/dashboard")}
        left = descendants(running.process.pid)
        assert running.end(seconds=TIDY) == 0
    assert [pid for pid in left if Path(f"/proc/{pid}").exists()] == []
    assert running.json(Layout.DASK_STATE)["state"] == "closed", "it was not killed"
    assert any(not path.exists() for path in node_dirs)
    assert not (directory / Layout.DASK_CONFIG).exists()


def test_plain_tcp_is_had_by_those_who_ask_for_it(tmp_path: Path) -> None:
    directory = make_session(tmp_path / "demo", dask=LOCAL_DASK, insecure_dask=True)
    with agent(directory, tmp_path / "home") as running:
        told = running.wait_for(Layout.RENDEZVOUS)["dask"]
        assert told["scheduler"].startswith("tcp://127.0.0.1:")
        with running.kernel() as kernel:
            kernel.run("from dask.distributed import Client; client = Client()")
            kernel.run("client.wait_for_workers(2, timeout=60)")
            schemes = "{a.split(':')[0] for a in client.scheduler_info()['workers']}"
            assert kernel.run(f"print({schemes}, client.submit(abs, -1).result())") == "{'tcp'} 1\n"
        assert ask(pages(running), "/status")[0] == 403, "the pages are locked all the same"
        assert running.end(seconds=TIDY) == 0


def test_holder_that_dies_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "distributed.py").write_text("raise ImportError('half installed')\n")
    directory = make_session(tmp_path / "demo", dask=LOCAL_DASK)
    path = f"{tmp_path / 'broken'}:{Path(__file__).parents[2]}"
    with agent(directory, tmp_path / "home", PYTHONPATH=path) as running:
        assert running.process.wait(30) == 8
    failure = running.json(Layout.FAILURE)
    assert failure["cause"] == "dask-failed"
    assert "half installed" in failure["said"]
    assert not (directory / Layout.TOKEN).exists()
