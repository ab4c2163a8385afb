"""The agent on this machine: Jupyter behind TLS and a token, announced, watched, ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import websocket

from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import descendants
from hpclaunch.tls import make_credentials, verify_context
from tests.node.live import TIDY, UMASK, Live, agent, make_session

pytestmark = pytest.mark.local


def test_rendezvous_says_where_and_until_when(live: Live) -> None:
    told = live.json(Layout.RENDEZVOUS)
    assert told["version"] == 1
    assert told["nonce"] == "0123456789ab"
    assert told["addresses"] == ["127.0.0.1"]
    assert told["hostname"] == socket.gethostname()
    assert told["pid"] == live.process.pid
    assert told["dask"] is None
    assert 0 < told["timings"]["server"] <= told["timings"]["ready"] < 60
    left = datetime.fromisoformat(told["ends_at"]) - datetime.now(UTC)
    assert timedelta(minutes=58) < left < timedelta(hours=1, seconds=2)


def test_serves_lab_to_the_token(live: Live) -> None:
    status, _, body = live.request("/lab")
    assert status == 200
    assert b"jupyter-config-data" in body


@pytest.mark.parametrize("path", ["/api/status", "/api/kernels", "/api/contents", "/metrics"])
@pytest.mark.parametrize("token", [None, "0" * 48])
def test_refuses_everybody_else(live: Live, path: str, token: str | None) -> None:
    status, headers, _ = live.request(path, token=token)
    login = status == 302 and headers["Location"].startswith("/login")
    assert status == 403 or login


def test_kernel_websocket_needs_the_token(live: Live) -> None:
    _, _, body = live.request("/api/kernels", method="POST", body={})
    identity = json.loads(body)["id"]
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        live.websocket(f"/api/kernels/{identity}/channels", token=None)
    assert refused.value.status_code == 403
    live.request(f"/api/kernels/{identity}", method="DELETE")


def test_terminals_work_and_need_the_token(live: Live) -> None:
    _, _, body = live.request("/api/terminals", method="POST", body={})
    path = f"/terminals/websocket/{json.loads(body)['name']}"
    with pytest.raises(websocket.WebSocketBadStatusException):
        live.websocket(path, token=None)
    terminal = live.websocket(path)
    terminal.send(json.dumps(["stdin", "echo $((6*7))\r"]))
    shown = ""
    while "42" not in shown:
        kind, *words = json.loads(terminal.recv())
        shown += words[0] if kind == "stdout" else ""
    terminal.close()


def login(live: Live) -> str:
    """The cookies that a browser has after it opened the page with the token."""
    _, headers, _ = live.request("/lab")
    return "; ".join(line.split(";")[0] for line in headers.get_all("Set-Cookie", []))


def test_a_cookie_opens_nothing_without_the_xsrf_token(live: Live) -> None:
    cookies = login(live)
    assert "username-" in cookies
    assert live.request("/api/status", token=None, headers={"Cookie": cookies})[0] == 200
    forged = live.request(
        "/api/kernels", method="POST", body={}, token=None, headers={"Cookie": cookies}
    )
    assert forged[0] == 403


def test_login_cookie_is_for_plain_http_on_the_laptop(live: Live) -> None:
    _, headers, _ = live.request("/lab")
    login = next(line for line in headers.get_all("Set-Cookie") if line.startswith("username-"))
    assert "HttpOnly" in login
    assert "Secure" not in login


def test_other_host_names_are_refused(live: Live) -> None:
    assert live.request("/api/status", headers={"Host": "evil.example:80"})[0] == 403
    assert live.request("/api/status", headers={"Host": "localhost:80"})[0] == 200


def test_other_origins_are_refused(live: Live) -> None:
    path, cookies = "/api/events/subscribe", login(live)
    ours = f"http://127.0.0.1:{live.port}"
    live.websocket(path, token=None, cookie=cookies, origin=ours).close()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        live.websocket(path, token=None, cookie=cookies, origin="http://evil.example")
    assert refused.value.status_code == 403


def test_plain_http_is_not_spoken(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.port), 5) as plain:
        plain.sendall(b"GET /api/status HTTP/1.0\r\n\r\n")
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = plain.recv(100)
        assert answer == b""


def test_certificate_is_of_this_session(live: Live) -> None:
    stranger = verify_context(make_credentials()[Layout.CA])
    with (
        socket.create_connection(("127.0.0.1", live.port), 5) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        stranger.wrap_socket(raw, server_hostname="jupyter.hpclaunch.invalid")


def test_notebooks_start_at_home(live: Live) -> None:
    with live.kernel() as kernel:
        assert kernel.run("import os; print(os.getcwd())").strip() == live.environment["HOME"]


def test_notebooks_write_with_the_users_own_umask(live: Live) -> None:
    with live.kernel() as kernel:
        kernel.run("from pathlib import Path; Path('for my group').write_text('x')")
    path = Path(live.environment["HOME"]) / "for my group"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~UMASK


def test_kernels_messages_are_encrypted_on_the_node(live: Live) -> None:
    with live.kernel() as kernel:
        kernel.run("pass")
        runtime = live.directory / Layout.JUPYTER_RUNTIME
        connections = [json.loads(path.read_text()) for path in runtime.glob("kernel-*.json")]
    assert connections
    assert {found["ip"] for found in connections} == {"127.0.0.1"}
    assert all(found["curve_publickey"] for found in connections)


def test_quit_button_is_off(live: Live) -> None:
    _, _, body = live.request("/lab")
    assert b'"quitButton": false' in body


def private(root: Path) -> list[str]:
    """Files and directories below `root` that somebody else could use."""
    return [
        f"{stat.filemode(path.lstat().st_mode)} {path}"
        for path in [root, *root.rglob("*")]
        if path.lstat().st_mode & 0o077
    ]


def test_everything_it_writes_is_private(live: Live) -> None:
    with live.kernel() as kernel:
        kernel.run("pass")
        below = {path.name for path in live.directory.rglob("*")}
        assert any(name.startswith("kernel-") for name in below), "the runtime is elsewhere"
        written = {Layout.RENDEZVOUS, Layout.JUPYTER_CONFIG, "runtime", "dask", "workers"}
        assert written <= below
        live.directory.joinpath(Layout.LOG).chmod(0o600)  # made by the scheduler, not by us
        assert private(live.directory) == []


def secrets_of(live: Live) -> list[bytes]:
    """The token, the dashboard's secret and a line of every private key."""
    lines = [path.read_bytes().splitlines()[1] for path in (live.directory / "tls").glob("*.key")]
    shown = (live.directory / Layout.DASK_SECRET).read_bytes()
    return [live.token.encode(), shown, *lines]


def leaks(live: Live) -> list[str]:
    """Places where another user or a log could show a secret."""
    found = []
    wanted = secrets_of(live)
    assert all(len(secret) >= 48 for secret in wanted)
    pids = [live.process.pid, *descendants(live.process.pid)]
    assert len(pids) >= 3
    for pid in pids:
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert text
            found += [f"{pid} {name}" for secret in wanted if secret in text]
    logs = [live.directory / Layout.LOG, *(live.directory / Layout.WORKERS).iterdir()]
    found += [str(path) for path in logs for secret in wanted if secret in path.read_bytes()]
    return found


def test_no_secret_is_shown_to_others(live: Live) -> None:
    with live.kernel() as kernel:
        kernel.run("pass")
        live.request(f"/lab?token={live.token}", token=None)
        assert leaks(live) == []


def test_term_leaves_no_process_and_no_secret(tmp_path: Path) -> None:
    with agent(make_session(tmp_path / "demo"), tmp_path / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        with running.kernel() as kernel:
            # A kernel that ignores what Jupyter tells it, with a child of its own.
            kernel.run("import signal, subprocess")
            kernel.run("child = subprocess.Popen(['sleep', '600'], start_new_session=True)")
            left = descendants(running.process.pid)
            assert len(left) >= 3
            running.process.terminate()
            assert running.process.wait(TIDY) == 0, "the child would sleep for 600 s"
    assert [pid for pid in left if Path(f"/proc/{pid}").exists()] == []
    for name in Layout.SECRETS:
        assert not (running.directory / name).exists(), name
    assert "SIGTERM" in running.log
    assert not (running.directory / Layout.FAILURE).exists()


def test_interrupt_before_it_is_ready(tmp_path: Path) -> None:
    with agent(make_session(tmp_path / "demo"), tmp_path / "home") as running:
        running.wait_for(Layout.JUPYTER_CONFIG)
        assert running.end(signal.SIGINT) == 0
    assert not (running.directory / Layout.RENDEZVOUS).exists()
    assert not (running.directory / Layout.TOKEN).exists()


def test_shutdown_by_jupyters_own_interface_is_an_end_not_a_failure(tmp_path: Path) -> None:
    with agent(make_session(tmp_path / "demo"), tmp_path / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        assert running.request("/api/shutdown", method="POST", body={})[0] == 200
        assert running.process.wait(20) == 0
    assert not (running.directory / Layout.FAILURE).exists()


def test_jupyter_that_dies_later_is_reported(tmp_path: Path) -> None:
    with agent(make_session(tmp_path / "demo"), tmp_path / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        jupyter = descendants(running.process.pid)[0]
        os.kill(jupyter, signal.SIGKILL)
        assert running.process.wait(20) == 5
    failure = running.json(Layout.FAILURE)
    assert failure["cause"] == "jupyter-died"
    assert "SIGKILL" in failure["what"]
    assert not (running.directory / Layout.TOKEN).exists()


def test_jupyter_dies_with_a_killed_agent(tmp_path: Path) -> None:
    with agent(make_session(tmp_path / "demo"), tmp_path / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        jupyter = descendants(running.process.pid)[0]
        node_directory = running.json(Layout.DASK_FILE)["hpclaunch"]["node-directory"]
        running.process.kill()
        running.process.wait()
        shutil.rmtree(node_directory)  # nobody else is left to do it
        deadline = time.monotonic() + 10
        while lives(jupyter):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether a process is there that still does something."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    directory = make_session(tmp_path / "demo")
    (directory / Layout.JUPYTER_RUNTIME).write_text("a file where a directory should be")
    with agent(directory, tmp_path / "home") as running:
        assert running.process.wait(20) == 10
    failure = running.json(Layout.FAILURE)
    assert failure["cause"] == "filesystem"
    assert str(directory / Layout.JUPYTER_RUNTIME) in failure["what"]


def test_environment_without_jupyterlab(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run(
        [os.path.realpath("/proc/self/exe"), "-m", "venv", "--without-pip", str(bare)], check=True
    )
    python = str(bare / "bin" / "python")
    with agent(make_session(tmp_path / "demo"), tmp_path / "home", python) as running:
        assert running.process.wait(20) == 4
    failure = running.json(Layout.FAILURE)
    assert failure["cause"] == "no-jupyterlab"
    assert python in failure["what"]
    assert "--environment" in failure["hint"]
    assert not (running.directory / Layout.TOKEN).exists()


def test_jupyter_that_cannot_start(tmp_path: Path) -> None:
    missing = str(tmp_path / "no such directory")
    directory = make_session(tmp_path / "demo", root_dir=missing)
    with agent(directory, tmp_path / "home") as running:
        assert running.process.wait(30) == 5
    assert running.json(Layout.FAILURE)["cause"] == "jupyter-died"
    assert missing in running.log


def test_jupyter_that_hangs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter" / "jupyter_server_config.py").write_text("import time; time.sleep(600)\n")
    directory = make_session(tmp_path / "demo", start_timeout=4)
    with agent(directory, home) as running:
        assert running.process.wait(30) == 6
    failure = running.json(Layout.FAILURE)
    assert failure["cause"] == "jupyter-hangs"
    assert "4 s" in failure["what"]


def test_incomplete_session_is_named(tmp_path: Path) -> None:
    directory = make_session(tmp_path / "demo")
    (directory / Layout.SPEC).write_text('{"version": 1, "name": "demo"}')
    with agent(directory, tmp_path / "home") as running:
        assert running.process.wait(20) == 3
    assert "nonce" in running.json(Layout.FAILURE)["what"]
