"""Laptops without POSIX: modules, UNIX sockets and ssh are hidden from hpclaunch, on Linux."""

from __future__ import annotations

import ast
import json
import os
import pkgutil
import runpy
import stat
import subprocess
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import pytest

import hpclaunch
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, processes_with

WINDOWS = Path(__file__).parents[1] / "support" / "windows"
ON_SITES = ("hpclaunch.node", "hpclaunch.clusters", "hpclaunch.demo")
OPENSSH = {f"hpclaunch.transports.{name}" for name in ("openssh", "master", "lifeline", "pipes")}
"""What only laptops with a sharing ssh load; `factory` imports it when it is chosen."""


def laptop_modules() -> list[str]:
    """Every module of hpclaunch that a laptop without such an ssh may load."""
    found = [one.name for one in pkgutil.walk_packages(hpclaunch.__path__, "hpclaunch.")]
    mine = [name for name in found if not name.startswith(ON_SITES) and name not in OPENSSH]
    return [name for name in mine if not name.endswith("__main__")]


def without_posix(laptop: Laptop | None = None) -> dict[str, str]:
    """The environment of such a laptop."""
    own = laptop.environment if laptop else dict(os.environ)
    path = os.pathsep.join(filter(None, [str(WINDOWS), own.get("PYTHONPATH")]))
    return {**own, "PYTHONPATH": path}


@pytest.mark.local
@pytest.mark.patient
def test_hidden_modules_are_hidden_from_hpclaunch_alone() -> None:
    """The other tests here would prove nothing if this failed."""
    look = "import fcntl\nexec('import termios', {'__name__': 'hpclaunch.cli.ask'})"
    done = subprocess.run(
        [sys.executable, "-c", look, "hpclaunch"],
        env=without_posix(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "No module named 'termios': this is no POSIX system" in done.stderr


@pytest.mark.local
@pytest.mark.patient
def test_every_module_of_the_laptop_can_be_imported() -> None:
    names = laptop_modules()
    assert {"hpclaunch.cli.start", "hpclaunch.keeper.service", "hpclaunch.transports.ssh"} <= set(
        names
    )
    look = "import importlib, sys\nfor name in sys.argv[2:]: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-c", look, "hpclaunch", *names],
        env=without_posix(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.local
@pytest.mark.patient
@pytest.mark.parametrize("name", laptop_modules())
def test_no_posix_module_is_imported_anywhere_in(name: str) -> None:
    """Also within functions, which an import of the module does not show."""
    import importlib.util

    hidden = runpy.run_path(str(WINDOWS / "sitecustomize.py"))["POSIX"]
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not hidden & {one.partition(".")[0] for one in names}, ast.unparse(node)


@pytest.mark.cluster
def test_a_session_without_posix_and_without_ssh(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    """The keeper and the forwards listen on loopback ports; paramiko is the way in."""
    empty = tmp_path / "bin"
    empty.mkdir()
    environment = without_posix(laptop) | {"PATH": str(empty)}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            laptop.argv(*words), env=environment, capture_output=True, text=True, timeout=300
        )

    started = run(
        "start", str(PROFILE), "--name", "windows", "--json", "--detach", "--no-browser",
        "--workers", "0", "--set", "login.host=hpclaunch-login-kim",
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    document = json.loads(started.stdout)
    (card,) = (laptop.home / "state" / "run").rglob("keeper.json")
    assert stat.S_IMODE(card.stat().st_mode) == 0o600
    host, port = json.loads(card.read_text())["address"]
    assert host == "127.0.0.1"
    with pytest.raises(AuthenticationError):
        Client((host, port), authkey=b"guessed")
    assert not [path for path in laptop.home.rglob("*") if path.is_socket()]
    (listed,) = json.loads(run("list", "--json").stdout)
    assert listed["state"] == "ready"
    assert "Jupyter answers" in run("logs", "windows").stdout
    again = run("attach", "windows", "--json", "--detach", "--no-browser")
    assert json.loads(again.stdout)["url"] == document["url"]
    stopped = run("stop", "windows")
    assert stopped.returncode == 0, stopped.stderr
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left")
