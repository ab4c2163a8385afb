"""One running session for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpclaunch.node.layout import Layout
from tests.node.live import Live, agent, make_session


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A session without a cluster, ready."""
    base = tmp_path_factory.mktemp("session")
    with agent(make_session(base / "demo", ends_in=3600), base / "home") as running:
        running.wait_for(Layout.RENDEZVOUS)
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory."""
    path = tmp_path / "home"
    path.mkdir()
    return path
