"""A site on loopback and the two SSH transports that lead there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sshd_process import Sshd, make_key, require_sshd
from terminal_window import Terminal

from hpclaunch.transports.base import Transport
from hpclaunch.transports.factory import make_transport
from hpclaunch.transports.target import Target


@pytest.fixture(scope="session")
def sshd_is_there() -> None:
    """Without sshd these tests prove nothing: skipped on a laptop, failed where CI=true."""
    try:
        require_sshd()
    except RuntimeError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A 0700 directory whose path leaves room for sockets."""
    path = Path(tempfile.mkdtemp(prefix="hl", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@dataclass
class Site:
    """A login node on loopback, a key for it and the laptop's SSH configuration."""

    sshd: Sshd
    key: Path
    config: Path
    known_hosts: Path
    control: Path
    kind: str
    made: list[Transport] = field(default_factory=list)

    def write_config(self, *lines: str) -> None:
        """Write the configuration anew: host ``site``, then `lines`."""
        self.config.write_text(
            "\n".join(
                [
                    *lines,
                    "Host site",
                    "  HostName 127.0.0.1",
                    f"  Port {self.sshd.port}",
                    f"  IdentityFile {self.key}",
                    "Host *",
                    "  IdentitiesOnly yes",
                    "  IdentityAgent none",
                    f"  UserKnownHostsFile {self.known_hosts}",
                    "  GlobalKnownHostsFile /dev/null",
                    "",
                ]
            )
        )

    def jump_over(self, gate: Sshd) -> None:
        """Let the way to ``site`` lead over `gate`."""
        with self.known_hosts.open("a") as stream:
            stream.write(gate.known_line)
        self.write_config(
            *("Host gate", "  HostName 127.0.0.1", f"  Port {gate.port}"),
            *(f"  IdentityFile {self.key}", "Host site", "  ProxyJump gate"),
        )

    def transport(self, host: str = "site", **more: Any) -> Transport:
        """Return a transport to `host`, not yet connected; it is closed after the test."""
        target = Target(host, **{"ssh_config": self.config, "connect_timeout": 10.0, **more})
        transport = make_transport(self.kind, target, self.control)
        self.made.append(transport)
        return transport

    def connected(self, host: str = "site", **more: Any) -> Transport:
        """Return a transport that has logged in without asking anything."""
        transport = self.transport(host, **more)
        transport.connect()
        return transport


@pytest.fixture(scope="session")
def user_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key without a passphrase."""
    return make_key(tmp_path_factory.mktemp("keys") / "id_user")


@pytest.fixture
def start_sshd(
    sshd_is_there: None, tmp_path: Path, user_key: Path
) -> Iterator[Callable[..., Sshd]]:
    """Start sshd processes that end with the test; `user_key` may log in to each."""
    running: list[Sshd] = []

    def start(*more: str) -> Sshd:
        sshd = Sshd(tmp_path / f"sshd{len(running)}", more)
        sshd.authorize(user_key)
        running.append(sshd.start())
        return sshd

    yield start
    for sshd in running:
        sshd.stop()


@pytest.fixture
def site_of(
    tmp_path: Path, short_dir: Path, user_key: Path
) -> Iterator[Callable[[Sshd, str], Site]]:
    """Make the laptop's side of a login node: its key known, its configuration written."""
    sites: list[Site] = []

    def make(sshd: Sshd, kind: str) -> Site:
        known = tmp_path / "known_hosts"
        known.write_text(sshd.known_line)
        site = Site(sshd, user_key, tmp_path / "ssh_config", known, short_dir, kind)
        site.write_config()
        sites.append(site)
        return site

    yield make
    for site in sites:
        for transport in site.made:
            transport.close()


@pytest.fixture(params=["openssh", "paramiko"])
def kind(request: pytest.FixtureRequest) -> str:
    """The same claims hold for both transports."""
    return str(request.param)


@pytest.fixture
def site(start_sshd: Callable[..., Sshd], site_of: Callable[[Sshd, str], Site], kind: str) -> Site:
    """A plain login node."""
    return site_of(start_sshd(), kind)


@pytest.fixture
def terminal() -> Iterator[Callable[[Site], Terminal]]:
    """Open terminals in which a person logs in to a site."""
    opened: list[Terminal] = []

    def start(site: Site) -> Terminal:
        opened.append(Terminal(site))
        return opened[-1]

    yield start
    for window in opened:
        window.child.close(force=True)
