"""The peer ``jupyter-forward`` (PyPI), given all that makes it fast.

It ends at once unless ``conda`` or ``mamba`` activates an environment: a shim on its PATH says that
it did, and the PATH holds the site's environment already. It tells the token only after a pause of
3 s: the shim exports one that is known before, so that it is measured at its server's first answer.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.cluster import DOCKER, Cluster

__all__ = ["Forward"]

_PEERS = Path(__file__).parents[1] / "build" / "peers"
_SHELL = """#!/bin/bash
export PATH={folder}:/opt/site-env/bin:$PATH JUPYTER_TOKEN={token}
case ${{1-}} in -lc) shift; exec /bin/bash -c "$@" ;; -l) shift ;; esac
exec /bin/bash "$@"
"""
_PATIENCE = 60.0  # seconds


class Forward:
    """Launches by ``jupyter-forward`` on the container cluster, as alice."""

    def __init__(self) -> None:
        self._command = _install()
        self._cluster = Cluster()
        self._token = secrets.token_hex(16)
        self._folder = f"/home/alice/.jf-{os.getpid()}"
        for name, text in {
            "bash": _SHELL.format(folder=self._folder, token=self._token),
            "conda": "#!/bin/sh\nexit 0\n",
        }.items():
            place = f"{self._folder}/{name}"
            self._cluster.ssh(
                f"mkdir -p -m 700 {self._folder} && cat >{place} && chmod 700 {place}",
                stdin=text.encode(),
            )

    def launch(self) -> float:
        """Seconds until the first authenticated answer of ``/api/status``."""
        port = _free_port()
        run = DOCKER / "run"
        began = time.monotonic()
        process = subprocess.Popen(
            [
                *(self._command, f"alice@127.0.0.1:{(run / 'port').read_text().strip()}"),
                *("--port", str(port), "--identity", str(run / "id_ed25519")),
                *("--shell", f"{self._folder}/bash", "--conda-env", "site"),
                *("--launch-command", "sbatch -o /dev/null -J forward -c 1 --mem=1431M -t 60"),
            ],
            env={**os.environ, "BROWSER": "/bin/true", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            while not self._answers(port):
                if process.poll() is not None or time.monotonic() - began > _PATIENCE:
                    process.kill()
                    words = process.communicate()[0].decode(errors="replace")
                    raise RuntimeError(f"jupyter-forward did not come up:\n{words[-3000:]}")
                time.sleep(0.05)
            return time.monotonic() - began
        finally:
            process.kill()
            process.wait()
            self._cluster.ssh("scancel -n forward")

    def close(self) -> None:
        """Remove what it left on the site."""
        self._cluster.ssh(f"rm -rf {self._folder} .jupyter_forward")

    def _answers(self, port: int) -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/status",
            headers={"Authorization": f"token {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.read())
        except OSError:
            return False


def _install() -> str:
    command = _PEERS / "bin" / "jupyter-forward"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(_PEERS)], check=True)
        pip = [str(_PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "jupyter-forward"], check=True)
    return str(command)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
