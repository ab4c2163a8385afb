"""The pages of the cluster: behind Jupyter's login, and locked for everybody else on the node."""

from __future__ import annotations

import pytest
import websocket

from hpclaunch.node.dask import DASHBOARD_HEADER
from tests.clusters.look import ask, bokeh, pages, secret_of
from tests.node.live import Kernel, Live

pytestmark = pytest.mark.local

WRONG = [None, "", "0" * 64, "é"]


@pytest.mark.parametrize("path", ["/", "/status", "/info/main/workers.html", "/metrics", "/health"])
@pytest.mark.parametrize("secret", WRONG)
def test_pages_are_locked_on_the_node(live: Live, path: str, secret: str | None) -> None:
    assert ask(pages(live), path, secret)[0] == 403


def test_the_secret_opens_them(live: Live) -> None:
    assert ask(pages(live), "/status", secret_of(live))[0] == 200


def test_the_websocket_is_locked_on_the_node(live: Live) -> None:
    address = f"ws://127.0.0.1:{pages(live)}/status/ws"
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(address, subprotocols=["bokeh", "x"], timeout=10)
    assert refused.value.status_code == 403


def test_the_dashboard_shows_behind_jupyters_login(live: Live) -> None:
    status, _, body = live.request("/dask/status")
    assert status == 200
    assert b"bokeh" in body
    assert live.request("/dask/info/main/workers.html")[0] == 200


@pytest.mark.parametrize("path", ["/dask/status", "/dask/info/main/workers.html", "/dask/"])
def test_the_dashboard_needs_jupyters_login(live: Live, path: str) -> None:
    for headers in ({}, {DASHBOARD_HEADER: secret_of(live)}):
        status, answer, _ = live.request(path, token=None, headers=headers)
        assert status == 403 or (status == 302 and answer["Location"].startswith("/login"))


def test_the_dashboards_websocket_opens_through_jupyter(live: Live) -> None:
    _, _, body = live.request("/dask/status")
    channel = bokeh(live, body, "/dask/status")
    assert '"msgtype":"ACK"' in str(channel.recv()).replace(" ", "")
    channel.close()


def test_the_dashboards_websocket_needs_jupyters_login(live: Live) -> None:
    with pytest.raises(websocket.WebSocketException, match="Invalid redirect target '/login"):
        live.websocket("/dask/status/ws", token=None, subprotocols=["bokeh", "x"])


def test_workers_serve_no_pages(kernel: Kernel, live: Live) -> None:
    code = "print(*client.run(lambda dask_worker: dask_worker.http_server.port).values())"
    ports = [int(port) for port in kernel.run(code).split()]
    assert len(ports) == 2
    for port in ports:
        for path in ("/info/main.html", "/metrics", "/health", "/status", "/json/counts.json"):
            assert ask(port, path)[0] == 404
