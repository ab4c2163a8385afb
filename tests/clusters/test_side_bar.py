"""The side bar of dask-labextension: the factory that Dask's configuration names, as it calls it.

The extension itself, in a real JupyterLab, is asked in tests/e2e/test_scale.py.
"""

from __future__ import annotations

import json

import pytest

from hpclaunch.node.daskconfig import Place, settings
from hpclaunch.node.spec import Session, WorkerJobs
from tests.node.live import Kernel

LIKE_THE_EXTENSION = """
import asyncio, dask, importlib, json, os
async def story():
    named = dask.config.get("labextension.factory")
    make = getattr(importlib.import_module(named["module"]), named["class"])
    cluster = await make(*named["args"], **named["kwargs"], asynchronous=True)
    told = {"address": cluster.scheduler_address, "link": cluster.dashboard_link}
    await cluster.scale(1)
    while len(cluster.scheduler_info["workers"]) != 1:
        await asyncio.sleep(0.1)
    told["workers"] = list(cluster.scheduler_info["workers"].values())
    try:
        make(asynchronous=True)
    except RuntimeError as error:
        told["second"] = str(error)
    bounds = cluster.adapt(minimum=2, maximum=3)
    told["bounds"] = [bounds.minimum, bounds.maximum]
    while len(cluster.scheduler_info["workers"]) != 2:
        await asyncio.sleep(0.1)
    await cluster.close()
    while len(cluster.scheduler_info["workers"]) != 0:
        await asyncio.sleep(0.1)
    again = await make(asynchronous=True)
    told["again"] = again.scheduler_address
    await again.scale(2)
    print(json.dumps(told))
await asyncio.wait_for(story(), 60)
"""


@pytest.mark.pure
@pytest.mark.parametrize("mode", [None, "local"])
def test_a_session_without_a_cluster_shows_none(mode: str | None) -> None:
    jobs = WorkerJobs(cores=1, memory=1)
    session = Session("/x", "demo", "abc", "local", mode=mode, workers=2, jobs=jobs)
    found = settings(session, Place("127.0.0.1", "/env/bin/python", "", "/tmp/x"))["labextension"]
    assert found["initial"] == []
    assert ("factory" in found) is (mode is not None)


@pytest.mark.local
def test_it_is_the_sessions_cluster_and_there_is_no_second(kernel: Kernel) -> None:
    address = kernel.run("print(client.scheduler.address)").strip()
    told = json.loads(kernel.run(LIKE_THE_EXTENSION))
    assert told["address"] == told["again"] == address
    assert told["link"] == "/dask/status"
    assert told["workers"] == [{"nthreads": 1, "memory_limit": 500_000_000}]
    assert "one cluster" in told["second"]
    assert told["bounds"] == [2, 3]
    kernel.run("client.wait_for_workers(2, timeout=60)")
