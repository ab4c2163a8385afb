"""Every TLS context of Dask takes a peer that hangs up for no more than that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hpclaunch.export import DaskExport
from hpclaunch.node.daskconfig import Place, settings
from hpclaunch.tls import make_dask_credentials
from tests.node.live import REPOSITORY
from tests.node.test_daskconfig import session
from tests.pure.plans import plan_of

pytestmark = pytest.mark.local

PROGRAM = """
import gc, json, ssl
from distributed import Client, LocalCluster

def contexts():
    "Of each TLS context of Dask in this process, whether it has the option."
    found = [one for one in gc.get_objects() if isinstance(one, ssl.SSLContext)
             and one.verify_mode == ssl.CERT_REQUIRED and not one.check_hostname]
    return [bool(one.options & ssl.OP_IGNORE_UNEXPECTED_EOF) for one in found]

if __name__ == "__main__":
    with LocalCluster(n_workers=1, dashboard_address=":0", protocol="tls://") as cluster:
        with Client(cluster) as client:
            of_worker, of_nanny = client.run(contexts), client.run(contexts, nanny=True)
            total = client.submit(sum, [1, 2]).result()
            told = [contexts(), *of_worker.values(), *of_nanny.values()]
    print(json.dumps([total, told]))
"""


@pytest.mark.parametrize("whose", ["session", "export"])
def test_every_context_of_dask_outlives_a_lost_peer(tmp_path: Path, whose: str) -> None:
    ends = datetime.now(UTC) + timedelta(days=1)
    if whose == "export":
        plan = plan_of(dask={"cores": 1, "memory": "1 GB", "queue": "long"})
        files = DaskExport(plan, "big.toml", str(tmp_path)).files(ends)
    else:
        place = Place("127.0.0.1", sys.executable, str(REPOSITORY), str(tmp_path))
        told = settings(session(directory=str(tmp_path)), place)
        files = {**make_dask_credentials(ends), "dask/hpclaunch.yaml": json.dumps(told).encode()}
    for name, content in {**files, "program.py": PROGRAM.encode()}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    surroundings = {"DASK_CONFIG": str(tmp_path / "dask"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        env={**surroundings, "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    total, processes = json.loads(done.stdout.splitlines()[-1])
    assert (total, len(processes)) == (3, 3)
    for contexts in processes:
        assert len(contexts) >= 2 and all(contexts), processes
