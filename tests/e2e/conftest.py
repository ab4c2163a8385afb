"""Fixtures of the tests that run the whole way: laptops, the cluster, the climate data."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import iris_sample_data
import pytest
from filelock import FileLock

from tests.support.climate_data import generate
from tests.support.cluster import PROFILE, Cluster, NoEngine, bring_up
from tests.support.launch import Laptop

CACHE = Path(__file__).parents[1] / "artifacts"
IRIS = Path(iris_sample_data.path)


@dataclass(frozen=True)
class Place:
    """A site to run sessions on, and how to get there."""

    label: str
    site: str
    options: tuple[str, ...] = ()
    cluster: Cluster | None = field(default=None, compare=False)

    @property
    def is_local(self) -> bool:
        return self.site == "local"


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The containerised SLURM cluster."""
    try:
        return bring_up()
    except NoEngine as reason:
        pytest.skip(f"no container engine: {reason}")


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    """A laptop of its own for each test; whatever lives at its end is stopped."""
    home = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))
    one = Laptop(home)
    yield one
    one.leave()
    shutil.rmtree(home, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a `place` on site local, and on the cluster by both transports."""
    if "place" in metafunc.fixturenames:
        metafunc.parametrize(
            "place",
            [
                pytest.param("local", marks=pytest.mark.local),
                pytest.param("openssh", marks=pytest.mark.cluster),
                pytest.param("paramiko", marks=pytest.mark.cluster),
            ],
            indirect=True,
        )


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The site of the test's parameter."""
    if request.param == "local":
        return Place("local", "local")
    cluster = request.getfixturevalue("cluster")
    options = ("--set", f"login.transport={request.param}")
    return Place(request.param, str(PROFILE), options, cluster)


@pytest.fixture(scope="session")
def climate() -> Path:
    """A directory with the real NetCDF files and the generated days, kept between runs."""
    folder = CACHE / "climate"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # tests may run beside one another
        generate(folder)
        for pattern in ("nemo_1m_*_grid-T.nc", "A1B_north_america.nc", "E1_north_america.nc"):
            for path in IRIS.rglob(pattern):
                if not (folder / path.name).exists():
                    shutil.copy(path, folder / path.name)
    return folder


@pytest.fixture
def climate_on(place: Place, climate: Path) -> str:
    """The climate data where the site's compute nodes see it; its path there."""
    return str(climate) if place.cluster is None else bring(climate, place.cluster)


@pytest.fixture
def climate_there(cluster: Cluster, climate: Path) -> str:
    """The climate data where the cluster's nodes see it; its path there."""
    return bring(climate, cluster)


def bring(climate: Path, cluster: Cluster) -> str:
    """Put the climate data into alice's home, where it is not there yet; its path there."""
    wanted = len(list(climate.glob("*.nc")))
    if int(cluster.ssh("ls data/*.nc 2>/dev/null | wc -l")) != wanted:
        process = subprocess.Popen(
            ["ssh", "-F", str(PROFILE.parents[1] / "run" / "ssh_config"), "hpclaunch-login",
             "mkdir -p data && tar -C data -xf -"],
            stdin=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        with tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            for path in sorted(climate.glob("*.nc")):
                tar.add(path, path.name)
        process.stdin.close()
        assert process.wait() == 0
    return "/home/alice/data"


@pytest.fixture(autouse=True)
def _no_leaks_into_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in list(os.environ):
        if key.startswith("HPCLAUNCH_"):
            monkeypatch.delenv(key)
