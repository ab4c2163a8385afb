"""What other users put in the way beforehand is refused or passed by, never used."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.keeper.tlsend import TlsEnds, UpstreamError
from hpclaunch.node.layout import Layout
from hpclaunch.tls import make_credentials
from hpclaunch.transports.base import Endpoint
from tests.security.conftest import NODES
from tests.security.stranger import MALLORY_ON_LOGIN, SOMEBODY_ON_LAPTOP, User
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, kernel

LOOK = """
import json, os, sys
from distributed import Client

def look(**_):
    def hostile(path):
        open_to_others = False
        while path != "/":
            facts = os.stat(path)
            if facts.st_uid not in (0, os.getuid()):
                return True
            if not facts.st_mode & 0o077:
                open_to_others = False  # nobody else gets to what is below
            elif facts.st_mode & 0o022 and not facts.st_mode & 0o1000:
                open_to_others = True
            path = os.path.dirname(path)
        return open_to_others
    found = [os.path.abspath(path) for path in sys.path if os.path.exists(path)]
    return {"planted": [path for path in found if hostile(path)], "path": found}

def scratch(dask_worker):
    place = dask_worker.local_directory
    up = os.path.dirname(os.path.dirname(place))
    return {"place": place, "up": up, "owner": os.stat(up).st_uid == os.getuid(),
            "mode": oct(os.stat(up).st_mode & 0o777), **look()}

with Client() as client:
    client.wait_for_workers(1, timeout=120)
    print(json.dumps({
        "scheduler": client.run_on_scheduler(look),
        "nanny": list(client.run(look, nanny=True).values())[0],
        "worker": list(client.run(scratch).values())[0],
        "kernel": look(),
    }))
"""


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    home = Path("/tmp") / f"hpcl-{secrets.token_hex(4)}"
    home.mkdir(mode=0o700)
    one = Laptop(home)
    yield one
    one.leave()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def trap(cluster: Cluster) -> Iterator[str]:
    """A shared temporary directory where mallory has put Dask's usual names, and modules."""
    folder = f"/tmp/trap-{secrets.token_hex(4)}"
    for node in NODES:
        cluster.root(node, "mkdir", "-m", "1777", folder)
        uid = cluster.root(node, "id", "-u", "alice").strip()
        for name in ("dask-scratch-space", f"dask-scratch-space-{uid}"):
            place = f"{folder}/{name}"
            for command in (
                ("mkdir", "-m", "777", place),
                ("sh", "-c", 'echo "caught = 1" >"$1/planted_module.py"', "sh", place),
            ):
                assert User("mallory", node).runs(*command).returncode == 0
    yield folder
    for node in NODES:
        cluster.root(node, "rm", "-rf", folder)


@pytest.mark.cluster
def test_planted_scratch_directories_are_passed_by(
    cluster: Cluster, laptop: Laptop, trap: str
) -> None:
    """Dask puts its scratch directory on `sys.path` and reads pickles from it: whoever owns a
    directory above it runs code as the worker's user."""
    document = laptop.start(
        *(str(PROFILE), "--name", "trapped", "--workers", "1", "--walltime", "00:10:00"),
        *("--set", f'environments.default.setup=["export TMPDIR={trap}"]'),
    )
    with kernel(document, timeout=150) as running:
        said = running.run(LOOK)
    assert said.error is None, said
    found = json.loads(said.text)
    assert found["worker"]["place"].startswith(trap + "/"), "the temporary directory is the trap"
    for who in ("scheduler", "nanny", "worker", "kernel"):
        assert found[who]["planted"] == [], who
    assert found["worker"]["owner"] and found["worker"]["mode"] == "0o700", found["worker"]
    assert laptop.run("stop", "trapped").returncode == 0
    for node in NODES:
        eventually(
            lambda at=node: not cluster.root(at, "find", trap, "-user", "alice"),
            timeout=45,
            what="nothing is left behind",
        )


@pytest.mark.cluster
@pytest.mark.parametrize("plant", ["directory", "link"])
def test_a_base_directory_that_somebody_else_made_is_refused(
    cluster: Cluster, laptop: Laptop, plant: str
) -> None:
    base = f"/tmp/base-{secrets.token_hex(4)}"
    real = base if plant == "directory" else base + ".real"
    assert MALLORY_ON_LOGIN.runs("mkdir", "-m", "777", real, f"{real}/sessions").returncode == 0
    if plant == "link":
        assert MALLORY_ON_LOGIN.runs("ln", "-s", real, base).returncode == 0
    done = laptop.run("start", str(PROFILE), "--name", "based", "--no-browser", "--workers", "0",
                      "--set", f"paths.base={base}")  # fmt: skip
    assert done.returncode == 1
    assert "error:" in done.stderr and base in done.stderr, done.stderr
    left = cluster.root("login", "find", real, "-user", "alice", "-type", "f")
    assert left == "", "no secret was written there"
    assert not [job for job in cluster.jobs() if "based" in job]
    cluster.root("login", "rm", "-rf", base, real)


@pytest.mark.local
@pytest.mark.parametrize("plant", ["directory", "link"])
def test_a_runtime_directory_that_somebody_else_made_is_refused(
    laptop: Laptop, plant: str, tmp_path: Path
) -> None:
    """With a long home sockets lie below /tmp, under a name that others can foresee."""
    if os.getuid() != 0:
        pytest.skip("only root can act as another user of this machine")
    import hashlib

    home = laptop.home / ("long" * 15)
    digest = hashlib.sha256(str(home / "state" / "run").encode()).hexdigest()[:8]
    place = Path(f"/tmp/hpclaunch-{os.getuid()}-{digest}")
    make = ("mkdir", "-m", "777") if plant == "directory" else ("ln", "-s", "/var/tmp")
    assert SOMEBODY_ON_LAPTOP.runs(*make, str(place)).returncode == 0
    try:
        done = Laptop(home).run("start", "local", "--no-browser", "--workers", "0", "--detach")
        assert done.returncode == 1
        assert f"error: {place} is not a directory of yours" in done.stderr
        assert plant == "link" or list(place.iterdir()) == []
    finally:
        shutil.rmtree(place) if plant == "directory" else place.unlink()


class Impostor:
    """Has taken the port of a session's Jupyter, and listens to what the laptop says."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.heard = b""
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(host="127.0.0.1", port=self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(10)
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            self.heard += connection.recv(65536)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        self._thread.join(15)
        self._listener.close()


def _context(folder: Path, files: dict[str, bytes], certificate: str, key: str) -> ssl.SSLContext:
    paths = []
    for name in (certificate, key):
        path = folder / name.replace("/", "-")
        path.write_bytes(files[name])
        paths.append(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    return context


@pytest.mark.local
@pytest.mark.parametrize("impostor", ["plain", "own authority", "a Dask worker", "the real one"])
def test_a_server_at_the_announced_address_must_be_the_sessions_own(
    tmp_path: Path, impostor: str
) -> None:
    """A stale or planted rendezvous leads to a stranger's server: it never hears the token."""
    ours, theirs = make_credentials(), make_credentials()
    contexts: dict[str, Any] = {
        "plain": lambda: None,
        "own authority": lambda: _context(
            tmp_path, theirs, Layout.JUPYTER_CERT, Layout.JUPYTER_KEY
        ),
        "a Dask worker": lambda: _context(tmp_path, ours, Layout.DASK_CERT, Layout.DASK_KEY),
        "the real one": lambda: _context(tmp_path, ours, Layout.JUPYTER_CERT, Layout.JUPYTER_KEY),
    }
    server = Impostor(contexts[impostor]())
    ends = TlsEnds()
    try:
        with pytest.raises(UpstreamError):  # the real one hangs up here, after it was asked
            ends.answer(server.endpoint, ours[Layout.CA], "the-token")
    finally:
        ends.close()
        server.close()
    assert (b"the-token" in server.heard) == (impostor == "the real one")
