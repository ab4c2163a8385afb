"""The tunnel's ends on the laptop: other users there, and web pages in the owner's browser."""

from __future__ import annotations

import http.cookiejar
import json
import os
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.security.conftest import Victim
from tests.security.stranger import SOMEBODY_ON_LAPTOP
from tests.support.launch import kernel

pytestmark = pytest.mark.cluster

EVIL = "http://evil.example"


@pytest.fixture(autouse=True)
def _other_users() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can act as another user of this machine")


class Browser:
    """Logged in by the link that hpclaunch gave, as a browser is: cookies and nothing else."""

    def __init__(self, victim: Victim) -> None:
        self.base = f"http://127.0.0.1:{victim.local_port}"
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self._jar), _Stay()
        )
        self.ask(f"/lab?token={victim.token}")
        assert {"_xsrf"} < {cookie.name for cookie in self._jar}, "logged in"

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    @property
    def xsrf(self) -> str:
        return next(cookie.value or "" for cookie in self._jar if cookie.name == "_xsrf")

    def ask(self, path: str, method: str = "GET", data: Any = None, **headers: str) -> int:
        """The status of the answer."""
        body = None if data is None else json.dumps(data).encode()
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.base + path, body, told, method=method)
        try:
            with self._opener.open(request, timeout=20) as answer:
                answer.read()
                status: int = answer.status
                assert not answer.headers.get("Access-Control-Allow-Origin")
                return status
        except urllib.error.HTTPError as error:
            assert not error.headers.get("Access-Control-Allow-Origin")
            return error.code

    def websocket(self, path: str, origin: str, **options: Any) -> websocket.WebSocket:
        address = self.base.replace("http", "ws") + path
        return websocket.create_connection(
            address, origin=origin, cookie=self.cookies, timeout=20, **options
        )


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture(scope="module")
def browser(victim: Victim) -> Browser:
    return Browser(victim)


def test_the_owners_browser_gets_in(browser: Browser) -> None:
    assert browser.ask("/api/status") == 200
    assert browser.ask("/dask/status") == 200


@pytest.mark.parametrize("path", ["/lab", "/api/contents", "/dask/status", "/login", "/files/x"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_foreign_host_is_refused(browser: Browser, path: str, host: str) -> None:
    """A page whose name was rebound to 127.0.0.1 sends its own name."""
    assert browser.ask(path, Host=host) == 403


@pytest.mark.parametrize(
    "origin", [EVIL, "http://127.0.0.1:1", "http://localhost.evil.example", "null"]
)
def test_a_foreign_origin_is_refused(browser: Browser, origin: str) -> None:
    for method, path, data in (
        ("GET", "/api/contents", None),
        ("POST", "/api/kernels", {}),
        ("POST", "/api/terminals", None),
        ("DELETE", "/api/contents/nothing", None),
    ):
        status = browser.ask(path, method, data, Origin=origin, X_XSRFToken=browser.xsrf)
        assert status in (403, 404), (method, path)
    assert browser.ask("/api/kernels", Origin=browser.base) == 200


@pytest.mark.parametrize("origin", [EVIL, "http://127.0.0.1:1", "null"])
def test_a_foreign_origin_opens_no_websocket(victim: Victim, browser: Browser, origin: str) -> None:
    with kernel(victim.document) as running:
        paths = [f"/api/kernels/{running.id}/channels", "/api/events/subscribe"]
        for path in paths:
            with pytest.raises(websocket.WebSocketBadStatusException) as refused:
                browser.websocket(path, origin)
            assert refused.value.status_code == 403
            browser.websocket(path, browser.base).close()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        browser.websocket("/dask/status/ws", origin, subprotocols=["bokeh", "x"])
    assert refused.value.status_code == 403


@pytest.mark.parametrize("path", ["/api/kernels", "/api/terminals", "/api/shutdown"])
def test_a_post_without_xsrf_token_is_refused(browser: Browser, path: str) -> None:
    assert browser.ask(path, "POST", {}) == 403
    assert browser.ask(path, "POST", {}, X_XSRFToken="2|wrong|wrong|1") == 403
    assert browser.ask("/api/status") == 200, "nothing was shut down"


def test_with_the_xsrf_token_the_same_post_is_done(browser: Browser) -> None:
    assert browser.ask("/api/kernels", "POST", {}, X_XSRFToken=browser.xsrf) == 201


@pytest.mark.parametrize("path", ["/dask/status", "/dask/info/main/workers.html", "/dask/metrics"])
def test_the_dashboard_needs_the_sessions_login(victim: Victim, path: str) -> None:
    for headers in ({}, {"X-Hpclaunch-Dashboard": victim.secrets["dashboard"]}):
        (said,) = SOMEBODY_ON_LAPTOP.tries("web", requests=[_local(victim, path, **headers)])
        status, told, body = said
        assert status == 403 or (status == 302 and told["Location"].startswith("/login")), said
        assert "bokeh" not in body


def _local(victim: Victim, path: str, method: str = "GET", **headers: str) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": victim.local_port, "path": path, "method": method,
            "headers": headers}  # fmt: skip


def test_the_local_port_is_open_to_all_and_lets_nobody_in(victim: Victim) -> None:
    asked = [
        _local(victim, "/lab"),
        _local(victim, "/api/contents"),
        _local(victim, "/api/kernels", "POST"),
        _local(victim, "/api/status", Authorization="token " + victim.token[:-1] + "~"),
    ]
    statuses = [said[0] for said in SOMEBODY_ON_LAPTOP.tries("web", requests=asked)]
    assert statuses == [302, 403, 403, 403]


def test_only_loopback_listens(victim: Victim) -> None:
    addresses = {
        line.split()[1].split(":")[0]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if int(line.split()[1].split(":")[1], 16) == victim.local_port and line.split()[3] == "0A"
    }
    assert addresses == {"0100007F"}


def test_other_users_of_the_laptop_reach_no_file_and_no_socket(victim: Victim) -> None:
    home = victim.laptop.home
    assert SOMEBODY_ON_LAPTOP.runs("ls", str(home)).returncode == 0, "the home is open in this test"
    paths = [str(path) for path in home.rglob("*")]
    names = {Path(path).name for path in paths}
    assert names >= {"token", "record.json", "ca.pem", "keeper.json", "keeper.sock"}
    sockets = [path for path in paths if stat.S_ISSOCK(Path(path).lstat().st_mode)]
    assert len(sockets) == 3, "the keeper's, the connection's and the forward's"
    said = SOMEBODY_ON_LAPTOP.tries("sockets", paths=sockets)
    assert set(said.values()) == {"PermissionError"}
    private = [path for path in paths if path not in (str(home), f"{home}/state")]
    won = SOMEBODY_ON_LAPTOP.tries("files", paths=private)
    assert won == []


def test_the_keeper_wants_its_key_even_from_who_reaches_its_socket(victim: Victim) -> None:
    """Where the socket is a loopback port (Windows), the key in the 0600 file is what protects."""
    from multiprocessing import AuthenticationError
    from multiprocessing.connection import Client

    (card,) = victim.laptop.home.glob("state/run/*/keeper.json")
    address = json.loads(card.read_text())["address"]
    with pytest.raises(AuthenticationError):
        Client(address, authkey=b"0" * 32)


def test_files_on_the_laptop_are_private(victim: Victim) -> None:
    for path in (victim.laptop.home / "state").rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_dir() or path.stat().st_size:
            assert mode & 0o077 == 0, f"{path}: {mode:o}"
