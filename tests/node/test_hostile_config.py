"""A user's configuration may change how Jupyter looks and works, not who may come in."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpclaunch.node.layout import Layout
from tests.node.live import Live, agent, make_session

pytestmark = pytest.mark.local

# Every way we know to open a Jupyter server, in every file that Jupyter reads.
SERVER = """
c.ServerApp.token = ""
c.ServerApp.password = ""
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 1
c.ServerApp.sock = "/tmp/hostile.sock"
c.ServerApp.base_url = "/elsewhere/"
c.ServerApp.certfile = ""
c.ServerApp.allow_origin = "*"
c.ServerApp.allow_origin_pat = ".*"
c.ServerApp.allow_credentials = True
c.ServerApp.allow_remote_access = True
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.authenticate_prometheus = False
c.ServerApp.disable_check_xsrf = True
c.ServerApp.trust_xheaders = True
c.ServerApp.local_hostnames = ["evil.example"]
c.ServerApp.cookie_secret = b"known to everybody"
c.ServerApp.tornado_settings = {
    "disable_check_xsrf": True,
    "headers": {"Access-Control-Allow-Origin": "*"},
}
c.ServerApp.login_handler_class = "jupyter_server.auth.logout.LogoutHandler"
c.ServerApp.identity_provider_class = "jupyter_server.auth.identity.IdentityProvider"
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = "sha1:" + (
    "67c9e60bb8b6:9ffede0825894254b2e042ea597d771089e11aed"  # foobar
)
c.PasswordIdentityProvider.password_required = False
c.PasswordIdentityProvider.secure_cookie = True
c.KernelManager.ip = "0.0.0.0"
c.KernelManager.transport_encryption = "disabled"
"""
OLD_NAMES = """
c.NotebookApp.token = ""
c.NotebookApp.allow_origin = "*"
c.NotebookApp.disable_check_xsrf = True
c.NotebookApp.allow_remote_access = True
c.LabApp.token = ""
"""
HARMLESS = """
c.ContentsManager.allow_hidden = True
c.ServerProxy.servers = {"mine": {"port": 1, "launcher_entry": {"title": "My own"}}}
"""
THEMES = "apputils-extension/themes"
THEME = '{"theme": "JupyterLab Dark"}'


def plant(home: Path) -> None:
    """Fill a home with it."""
    files = {
        ".jupyter/jupyter_config.py": SERVER,
        ".jupyter/jupyter_server_config.py": SERVER + OLD_NAMES + HARMLESS,
        ".jupyter/jupyter_server_config.json": '{"IdentityProvider": {"token": ""}}',
        ".jupyter/jupyter_lab_config.py": SERVER + OLD_NAMES,
        ".jupyter/jupyter_notebook_config.py": SERVER,
        ".jupyter/jupyter_server_config.d/open.json": '{"ServerApp": {"token": ""}}',
        f".jupyter/lab/user-settings/@jupyterlab/{THEMES}.jupyterlab-settings": THEME,
        ".hidden": "found",
    }
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A session whose user has configured all that."""
    base = tmp_path_factory.mktemp("hostile")
    plant(base / "home")
    environment = {
        "JUPYTER_TOKEN": "environment",
        "JUPYTER_PORT": "1",
        "JUPYTER_SERVER_ALLOW_UNAUTHENTICATED_ACCESS": "true",
        "XDG_RUNTIME_DIR": str(base / "of the login node"),
    }
    dask = {"mode": "local", "workers": 0, "cores": 1, "memory": 500_000_000}
    directory = make_session(base / "demo", dask=dask)
    with agent(directory, base / "home", **environment) as running:
        running.wait_for(Layout.RENDEZVOUS)
        yield running


@pytest.mark.parametrize("path", ["/api/kernels", "/api/contents", "/metrics", "/api/status"])
def test_token_is_asked_for(opened: Live, path: str) -> None:
    for token in (None, "environment"):
        status, headers, _ = opened.request(path, token=token)
        login = status == 302 and headers["Location"].startswith("/login")
        assert status == 403 or login
    assert opened.request(path)[0] == 200


def test_password_is_no_way_in(opened: Live) -> None:
    _, headers, _ = opened.request("/login", token=None)
    cookie = headers["Set-Cookie"].split(";")[0]
    xsrf = cookie.partition("=")[2]
    with opened.connect() as secure:
        connection = http.client.HTTPConnection("127.0.0.1", opened.port)
        connection.sock = secure
        told = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        told["Host"] = f"127.0.0.1:{opened.port}"
        connection.request("POST", "/login", f"_xsrf={xsrf}&password=foobar", told)
        assert connection.getresponse().status == 401


def cookies_of(opened: Live) -> str:
    """What a browser that is logged in sends along."""
    _, headers, _ = opened.request("/lab")
    return "; ".join(line.split(";")[0] for line in headers.get_all("Set-Cookie", []))


def test_xsrf_is_checked(opened: Live) -> None:
    told = {"Cookie": cookies_of(opened)}
    assert opened.request("/api/status", token=None, headers=told)[0] == 200
    assert opened.request("/api/kernels", method="POST", token=None, headers=told)[0] == 403


def test_no_other_origin_is_allowed(opened: Live) -> None:
    told = {"Origin": "http://evil.example", "Cookie": cookies_of(opened)}
    _, headers, _ = opened.request("/api/status", token=None, headers=told)
    assert "Access-Control-Allow-Origin" not in headers
    assert "Access-Control-Allow-Credentials" not in headers


def test_other_hosts_are_refused(opened: Live) -> None:
    for host in ("evil.example", "192.0.2.7"):
        assert opened.request("/api/status", headers={"Host": host})[0] == 403


def test_listens_where_it_should(opened: Live) -> None:
    other = next(
        (
            entry[4][0]
            for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
            if entry[4][0] != "127.0.0.1"
        ),
        "127.0.0.2",
    )
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((other, opened.port), 5)


def test_kernels_listen_on_loopback_and_encrypt(opened: Live) -> None:
    with opened.kernel() as kernel:
        kernel.run("pass")
        files = (opened.directory / Layout.JUPYTER_RUNTIME).glob("kernel-*.json")
        connection = json.loads(next(files).read_text())
    assert connection["ip"] == "127.0.0.1"
    assert connection["curve_publickey"]


def test_runtime_directory_of_the_login_node_is_not_used(opened: Live) -> None:
    assert list((opened.directory / Layout.JUPYTER_RUNTIME).glob("jpserver-*.json"))


def test_harmless_settings_stay(opened: Live) -> None:
    status, _, body = opened.request("/api/contents/.hidden")
    assert status == 200
    assert json.loads(body)["content"] == "found"
    _, _, body = opened.request("/lab/api/settings/@jupyterlab/apputils-extension:themes")
    assert json.loads(body)["raw"] == THEME


def test_own_proxy_entries_stay_beside_ours(opened: Live) -> None:
    _, _, body = opened.request("/server-proxy/servers-info")
    assert {"mine", "dask"} <= {entry["name"] for entry in json.loads(body)["server_processes"]}
