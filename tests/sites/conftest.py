"""The sites of the session tests: make-believe ones, the container cluster, or ``--site=NAME``."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpclaunch import paths
from hpclaunch.node import address
from tests.e2e.conftest import cluster  # noqa: F401  (a fixture)
from tests.sites.place import There, demo_site
from tests.support.cluster import PROFILE
from tests.support.launch import Laptop

NO_ADDRESS = pytest.mark.skipif(
    not address.for_nodes(), reason="this machine has no address but loopback"
)
CONFIG = paths.config_dir()
"""Where the person's own configuration lies, before tests move it away."""
EXPORTS = {
    name: os.environ[name]
    for name in ("HPCLAUNCH_SITE_PATH", "SSH_AUTH_SOCK")
    if name in os.environ
}
"""What a person's way to a real site may need."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `there` on every site, or on the one that was named.

    On SLURM, made up or in the container cluster, they are long ones: tests/e2e shows the same on
    the cluster, and more.
    """
    if "there" not in metafunc.fixturenames:
        return
    if metafunc.config.getoption("--site") is not None:
        named = [pytest.param("site", marks=[pytest.mark.cluster, pytest.mark.timeout(0)])]
        metafunc.parametrize("there", named, indirect=True)
        return
    here, long = [pytest.mark.local, NO_ADDRESS], pytest.mark.long
    sites = [
        pytest.param("pbs", marks=here),
        pytest.param("lsf", marks=here),
        pytest.param("slurm", marks=[*here, long]),
        pytest.param("cluster", marks=[pytest.mark.cluster, long]),
    ]
    metafunc.parametrize("there", sites, indirect=True)


@pytest.fixture
def laptop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laptop]:
    """A laptop of its own for each test, which this process sits at too."""
    home = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))
    real = request.config.getoption("--site") is not None
    one = Laptop(home, EXPORTS if real else {})
    if real and CONFIG.is_dir():
        shutil.copytree(CONFIG, home / "config")
    monkeypatch.setenv("HPCLAUNCH_HOME", str(home))
    for name, value in one.exports.items():
        monkeypatch.setenv(name, value)
    yield one
    one.leave()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def there(request: pytest.FixtureRequest, laptop: Laptop) -> Iterator[There]:
    """The site of the test's parameter."""
    if request.param == "site":
        name = f"suite-{secrets.token_hex(2)}"  # the person may have sessions there
        yield There(request.config.getoption("--site"), laptop, name, patience=86400.0)
    elif request.param == "cluster":
        request.getfixturevalue("cluster")
        yield There(str(PROFILE), laptop, "s")
    else:
        with demo_site(laptop, request.param) as site:
            yield site
