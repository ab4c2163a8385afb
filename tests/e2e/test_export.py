"""`site export-dask` on the cluster: a user's own `SLURMCluster()`, without the launcher."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop

pytestmark = pytest.mark.cluster

NOTEBOOK = """
import json
import psutil
from dask_jobqueue import SLURMCluster
from distributed import Client
from distributed.security import Security

def doors():
    "The ports that this process listens on, loopback aside."
    found = [one.laddr for one in psutil.Process().net_connections() if one.status == "LISTEN"]
    return list({door.port for door in found if door.ip != "127.0.0.1"})

told = {}
with SLURMCluster() as cluster, Client(cluster) as client:
    cluster.scale(1)
    client.wait_for_workers(1, timeout=60)
    told["class"] = type(cluster).__module__
    told["scheduler"] = cluster.scheduler_address
    told["workers"] = list(client.scheduler_info()["workers"])
    told["sum"] = sum(client.gather(client.map(abs, range(-9, 0))))
    told["doors"] = [doors(), *client.run(doors).values()]
    told["nanny"] = list(client.run(doors, nanny=True).values())
    told["ours"] = client.run(lambda: [one for one in __import__("sys").modules
                                       if one.startswith("hpclaunch")])
    plain = cluster.scheduler_address.replace("tls://", "tcp://")
    try:
        Client(plain, security=Security(require_encryption=False), timeout=2)
        told["plain"] = "let in"
    except OSError:
        told["plain"] = "refused"
print(json.dumps(told))
"""


def test_ones_own_cluster_is_the_sites_and_only_tls(
    laptop: Laptop, cluster: Cluster, tmp_path: Path
) -> None:
    place = f"/home/alice/{tmp_path.name}"
    # The login node has a network for the world and one for the nodes.
    interface = cluster.ssh("ip route get $(getent hosts c1 | cut -d' ' -f1)").split(" dev ")[1]
    done = laptop.run(
        *("site", "export-dask", str(PROFILE), "--output", str(tmp_path / "out")),
        *("--place", place, "--scheduler-interface", interface.split()[0]),
        *("--set", "dask.memory=1 GB", "--set", "dask.cores=1"),
    )
    assert done.returncode == 0, done.stderr
    (copy,) = [line for line in done.stderr.splitlines() if "bring it to the site:" in line]
    try:
        subprocess.run(copy.partition(": ")[2], shell=True, check=True, timeout=30)  # noqa: S602
        assert cluster.ssh(f"find {place} -perm /077") == ""
        said = cluster.ssh(
            f"DASK_CONFIG={place}/dask /opt/site-env/bin/python -", stdin=NOTEBOOK.encode()
        )
    finally:
        cluster.ssh(f"rm -rf {place}")
    told = json.loads(said)
    assert told["class"] == "dask_jobqueue.slurm"
    assert [one[:6] for one in (told["scheduler"], *told["workers"])] == ["tls://"] * 2
    assert told["sum"] == 45
    assert told["plain"] == "refused"
    assert set(map(len, told["ours"].values())) == {0}
    # One door each: the one that speaks TLS.
    addresses = (told["scheduler"], *told["workers"])
    assert told["doors"] == [[int(one.rpartition(":")[2])] for one in addresses]
    assert list(map(len, told["nanny"])) == [1]
