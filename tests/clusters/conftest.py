"""One running session with two local workers for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpclaunch.node.layout import Layout
from tests.node.live import LOCAL_DASK, Kernel, Live, agent, make_session


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A session with a local cluster, ready."""
    base = tmp_path_factory.mktemp("session")
    directory = make_session(base / "demo", dask=LOCAL_DASK)
    with agent(directory, base / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        yield running


@pytest.fixture(scope="package")
def kernel(live: Live) -> Iterator[Kernel]:
    """A notebook whose `client` sees both workers."""
    with live.kernel() as running:
        running.run("from dask.distributed import Client; client = Client()")
        running.run("client.wait_for_workers(2, timeout=60)")
        yield running
