"""A Python whose h5py is built on parallel HDF5 for Open MPI, here and on the cluster's nodes."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.cluster import Cluster

__all__ = ["ROOT", "parallel_environment", "take_to_the_nodes"]

ROOT = Path(__file__).parents[2]
PARALLEL_HDF5 = Path(f"/usr/lib/{os.uname().machine}-linux-gnu/hdf5/openmpi")


def parallel_environment() -> Path:
    """A virtual environment with it; made once on a machine, in some minutes."""
    if not (PARALLEL_HDF5.is_dir() and shutil.which("mpicc.openmpi")):
        pytest.skip("no parallel HDF5: apt install libhdf5-openmpi-dev openmpi-bin gcc")
    own = next(path for path in sys.path if path.endswith("site-packages"))
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hpclaunch-tests"
    env = base / f"h5py-openmpi-{sys.version_info.major}.{sys.version_info.minor}"
    base.mkdir(parents=True, exist_ok=True)
    with FileLock(env.with_suffix(".lock")):
        if not (env / "built").exists():
            _build(env)
            (env / "built").touch()
    # What this environment has, behind what was built.
    (_packages(env) / "own.pth").write_text(f"{own}\n{ROOT}\n")
    return env


def _packages(env: Path) -> Path:
    return next(env.glob("lib/python*/site-packages"))


def _build(env: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", env], check=True)
    pip = [env / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "Cython<4", "setuptools", "pkgconfig", "numpy", "mpi4py"], check=True)
    subprocess.run(
        [*pip, "--no-build-isolation", "--no-deps", "--no-binary=h5py", "h5py"],
        env={
            **os.environ, "HDF5_MPI": "ON", "CC": "mpicc.openmpi", "CFLAGS": "-O1",
            "HDF5_INCLUDEDIR": "/usr/include/hdf5/openmpi", "HDF5_LIBDIR": str(PARALLEL_HDF5),
        },
        check=True,
    )  # fmt: skip
    ask = "import h5py; print(h5py.get_config().mpi)"
    assert subprocess.check_output([env / "bin" / "python", "-c", ask]) == b"True\n"


def take_to_the_nodes(env: Path, cluster: Cluster, name: str) -> str:
    """An environment below alice's home: the site's for Open MPI, but with this h5py.

    Returns
    -------
    str
        Its absolute path; its `lib` has the libraries that the nodes lack.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    there = cluster.ssh("ls /opt/openmpi-env/lib").split()
    if version not in there:
        pytest.skip(f"h5py was built for {version}, the nodes have {there[0]}")
    target = f"/home/alice/{name}"
    h5py = _packages(env) / "h5py"
    said = subprocess.check_output(["ldd", next(h5py.glob("defs*.so"))], text=True)
    known = set(cluster.ssh("/sbin/ldconfig -p | awk '{print $1}'").split())
    libraries = [Path(one) for one in re.findall(r"=> (/\S+)", said) if Path(one).name not in known]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(h5py, f"lib/{version}/site-packages/h5py")
        for one in libraries:
            tar.add(one.resolve(), f"lib/{one.name}")
    cluster.ssh(f"rm -rf {target} && python3 -m venv --without-pip {target}")
    cluster.ssh(f"tar -x -C {target}", stdin=packed.getvalue())
    site = [f"/opt/{one}-env/lib/{version}/site-packages" for one in ("openmpi", "site")]
    cluster.ssh(f"printf '%s\\n' {' '.join(site)} >{target}/lib/{version}/site-packages/site.pth")
    return target
