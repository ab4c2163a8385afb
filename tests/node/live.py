"""A session directory and a real agent on this machine, spoken to as the laptop would."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websocket

from hpclaunch.node.layout import JUPYTER_TLS_NAME, Layout
from hpclaunch.tls import make_credentials, verify_context

REPOSITORY = Path(__file__).parents[2]
UMASK = 0o027
"""The user's own, in every session of these tests."""
TIDY = 25.0
"""Seconds for an agent to end all that it has begun; schedulers kill after 30."""
LOCAL_DASK = {"mode": "local", "workers": 2, "cores": 1, "memory": 500_000_000}


def make_session(directory: Path, *, token: str | None = None, **fields: Any) -> Path:
    """Write what the laptop writes: session.json, token and tls/, all private."""
    directory.mkdir(mode=0o700, parents=True)
    files = make_credentials()
    files[Layout.TOKEN] = (token or secrets.token_hex(24)).encode()
    spec = {
        "version": 1,
        "name": "demo",
        "nonce": "0123456789ab",
        "site": "local",
        "scheduler": "local",
        "root_dir": None,
        "ends_in": None,
        "interface": None,
        "dask": None,
        **fields,
    }
    files[Layout.SPEC] = json.dumps(spec).encode()
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(data)
    return directory


@dataclass
class Live:
    """A running agent."""

    directory: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str] = field(repr=False)

    @property
    def token(self) -> str:
        return self._token

    def __post_init__(self) -> None:
        self._token = (self.directory / Layout.TOKEN).read_text()
        self._ca = (self.directory / Layout.CA).read_bytes()

    def json(self, name: str) -> Any:
        return json.loads((self.directory / name).read_text())

    @property
    def log(self) -> str:
        return (self.directory / Layout.LOG).read_text()

    def wait_for(self, name: str, seconds: float = 60) -> Any:
        """The content of a JSON file that the agent writes, as soon as it is there."""
        deadline = time.monotonic() + seconds
        while not (self.directory / name).exists():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"no {name}; the job's log:\n{self.log}")
            time.sleep(0.02)
        return self.json(name)

    @property
    def port(self) -> int:
        return int(self.json(Layout.RENDEZVOUS)["port"])

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection that trusts this session's authority alone."""
        raw = socket.create_connection(("127.0.0.1", self.port), 20)
        return verify_context(self._ca).wrap_socket(raw, server_hostname=JUPYTER_TLS_NAME)

    def request(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str | None = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Ask Jupyter; `token` "" is the session's, None is none."""
        told = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **(headers or {})}
        if token is not None:
            told["Authorization"] = f"token {token or self.token}"
        with self.connect() as secure:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.sock = secure
            text = None if body is None else json.dumps(body)
            connection.request(method, path, body=text, headers=told)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def websocket(
        self, path: str, *, token: str | None = "", **options: Any
    ) -> websocket.WebSocket:
        headers = [] if token is None else [f"Authorization: token {token or self.token}"]
        return websocket.create_connection(
            f"wss://127.0.0.1:{self.port}{path}",
            timeout=30,
            header=headers,
            sslopt={
                "ca_certs": str(self.directory / Layout.CA),
                "server_hostname": JUPYTER_TLS_NAME,
            },
            **options,
        )

    @contextlib.contextmanager
    def kernel(self) -> Iterator[Kernel]:
        """A kernel, started and spoken to by Jupyter's own interfaces."""
        status, _, body = self.request("/api/kernels", method="POST", body={})
        assert status == 201, body
        identity = json.loads(body)["id"]
        channel = self.websocket(f"/api/kernels/{identity}/channels")
        try:
            yield Kernel(channel)
        finally:
            channel.close()
            if self.process.poll() is None:
                self.request(f"/api/kernels/{identity}", method="DELETE")

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal to the agent; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@dataclass
class Kernel:
    """One kernel of a live session."""

    channel: websocket.WebSocket

    def run(self, code: str) -> str:
        """What `code` prints; fails with the traceback where it raises."""
        message = uuid.uuid4().hex
        header = {"msg_id": message, "msg_type": "execute_request", "session": uuid.uuid4().hex}
        self.channel.send(
            json.dumps(
                {
                    "header": {**header, "username": "", "version": "5.3", "date": ""},
                    "parent_header": {},
                    "metadata": {},
                    "content": {"code": code, "silent": False},
                    "channel": "shell",
                }
            )
        )
        printed = ""
        while True:
            answer = json.loads(self.channel.recv())
            if answer["parent_header"].get("msg_id") != message:
                continue
            kind, content = answer["msg_type"], answer["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind == "error":
                raise AssertionError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return printed


def surroundings(home: Path, **extra: str) -> dict[str, str]:
    """The environment of a job: a home of its own, and hpclaunch on PYTHONPATH."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(REPOSITORY), **extra}


@contextlib.contextmanager
def agent(
    directory: Path, home: Path, python: str = sys.executable, module: str = "agent", **extra: str
) -> Iterator[Live]:
    """An agent that runs in `directory`, as ``job.sh`` runs it; ended at last by force."""
    home.mkdir(exist_ok=True)
    environment = surroundings(home, **extra)
    with (directory / Layout.LOG).open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", f"hpclaunch.node.{module}", str(directory)],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=UMASK,
        )
    live = Live(directory, process, environment)
    try:
        yield live
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
