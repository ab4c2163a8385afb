"""What a stranger on the same node can find out about a session."""

from __future__ import annotations

import contextlib
import http.client
import re
from pathlib import Path
from typing import Any

import websocket

from hpclaunch.node.dask import DASHBOARD_HEADER
from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import descendants
from tests.node.live import Live


def secret_of(live: Live) -> str:
    return (live.directory / Layout.DASK_SECRET).read_text()


def pages(live: Live) -> int:
    """The TCP port on which the session's scheduler serves its pages."""
    listening = {
        int(fields[1].split(":")[1], 16)
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in sockets_of(holder_of(live))
    }
    plain = [port for port in listening if ask(port, "/") is not None]
    assert len(plain) == 1
    return plain[0]


def holder_of(live: Live) -> int:
    for pid in descendants(live.process.pid):
        if b"hpclaunch.clusters.holder" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no holder")


def sockets_of(pid: int) -> set[str]:
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed just now
            links.append(str(path.readlink()))
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def ask(port: int, path: str, secret: str | None = None, **headers: str) -> Any:
    """Status and body of a page on the node's loopback; None if no HTTP is spoken there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if secret is not None:
        headers[DASHBOARD_HEADER] = secret
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (http.client.HTTPException, ConnectionResetError):
        return None
    finally:
        connection.close()


def bokeh(live: Live, page: bytes, path: str) -> websocket.WebSocket:
    """The websocket that a browser opens for the dashboard `page`, which came from `path`."""
    found = re.search(rb'"token":\s*"([^"]+)"', page)
    assert found
    return live.websocket(f"{path}/ws", subprotocols=["bokeh", found[1].decode()])
