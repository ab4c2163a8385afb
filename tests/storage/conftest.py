"""Fixtures of the storage tests: the zoo, and an index cache of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.zoo import Zoo


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """The animals, each written once for all tests."""
    return Zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(autouse=True)
def index_cache(hpclaunch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of chunk indices of this test, empty at first."""
    folder = tmp_path / "index-cache"
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _quiet_conventions() -> Iterator[None]:
    """Files of the zoo break conventions on purpose; what xarray says of it is not the matter."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
