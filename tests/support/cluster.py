"""The containerised SLURM cluster, as tests see it: over SSH as its users, and as root."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

DOCKER = Path(__file__).parents[2] / "docker"
PROFILE = DOCKER / "slurm" / "site.toml"
NO_ENGINE = 3
"""Exit code of ``docker/engine`` and ``docker/cluster`` where no engine can be had."""


class NoEngine(Exception):
    """No container engine can be had; the text says why."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    def ssh(
        self,
        *command: str,
        user: str = "alice",
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float = 120,
    ) -> str:
        """Run a command on the login node as `user`, by plain ssh, and return its stdout."""
        host = "hpclaunch-login" + ("" if user == "alice" else f"-{user}")
        done = subprocess.run(
            ["ssh", "-F", str(DOCKER / "run" / "ssh_config"), host, *command],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: exit {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode(errors="replace")

    def root(self, node: str, *command: str, check: bool = True) -> str:
        """Run a command as root in the container of `node`."""
        done = subprocess.run([*inside(node), *command], capture_output=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: exit {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode(errors="replace")

    def jobs(self, user: str = "alice") -> list[str]:
        """Live hpclaunch jobs of a user: ``ID STATE NAME``; completing ones count as gone."""
        text = self.ssh(f"squeue -h -u {user} -o '%i %T %j'")
        live = [line for line in text.splitlines() if "COMPLETING" not in line]
        return [line for line in live if " hpclaunch-" in line]

    def files(self, folder: str = "~/.hpclaunch/sessions", *tests: str) -> list[str]:
        """What lies below a folder of alice's and passes `find`'s tests; none where it is missing.

        Raises
        ------
        AssertionError
            If that cannot be found out.
        """
        # What vanishes meanwhile is no error; whatever else goes wrong is.
        find = f"find {folder} -ignore_readdir_race {' '.join(tests)}"
        return self.ssh(f"test ! -e {folder} || {find}").splitlines()


@functools.cache
def where(service: str) -> tuple[str, str]:
    """The engine's client, and the id of the container of `service`."""
    asked = [str(DOCKER / "cluster"), "where", service]
    client, container = subprocess.check_output(asked, text=True, timeout=120).splitlines()
    return client, container


def inside(service: str) -> list[str]:
    """What stands before a command that is to run as root in the container of `service`.

    It is what ``docker/cluster exec`` runs, without looking for the engine each time.
    """
    client, container = where(service)
    return [client, "exec", "-i", container]


def bring_up() -> Cluster:
    """The cluster, brought up where it is not.

    Raises
    ------
    NoEngine
        Where no container engine can be had.
    """
    where.cache_clear()
    done = subprocess.run([str(DOCKER / "cluster"), "up"], capture_output=True, text=True)
    if done.returncode == NO_ENGINE:
        raise NoEngine(done.stderr.strip() or done.stdout.strip())
    if done.returncode != 0:
        raise RuntimeError(f"the cluster did not come up:\n{done.stdout}\n{done.stderr}")
    return Cluster()
