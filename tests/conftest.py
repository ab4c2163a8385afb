"""What holds for all tests: a tier for each, a user's home of its own, no leaks from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.run_tiers import PLACES

SITES = Path(__file__).parent / "sites"
TIERS = ("pure", "local", "cluster", "browser")

# A property that runs a shell is slow by nature; how slow says nothing about the property.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--golden-update`` rewrites the golden files instead of comparing with them.

    ``--site=NAME`` runs the tests of tests/sites on that site, and no others.
    """
    parser.addoption(
        "--golden-update", action="store_true", help="write tests/golden anew; review the diff"
    )
    parser.addoption(
        "--site", metavar="NAME", help="run the session tests on this site: a name or a profile"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Look into no other directory for the tests of ``--site``."""
    related = collection_path.is_relative_to(SITES) or SITES.is_relative_to(collection_path)
    return None if related or config.getoption("--site") is None else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests in tests/pure are pure. A test that no tier would run is an error."""
    if config.getoption("--site") is not None:
        here = [item for item in items if item.path == SITES / "test_sessions.py"]
        config.hook.pytest_deselected(items=[item for item in items if item not in here])
        items[:] = here
    pure = Path(__file__).parent / "pure"
    for item in items:
        if item.path.is_relative_to(pure):
            item.add_marker("pure")
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        wanted = [value for mark in item.iter_markers("long_with") for value in mark.args]
        if any(value in wanted for value in parameters):
            item.add_marker("long")
    homeless = [
        item.nodeid for item in items if not any(item.get_closest_marker(tier) for tier in TIERS)
    ]
    if homeless:
        raise pytest.UsageError(
            f"{len(homeless)} tests have none of the marks {', '.join(TIERS)}, "
            f"the first is {homeless[0]}"
        )
    astray = [item.nodeid for item in items if _is_astray(item)]
    if astray:
        raise pytest.UsageError(
            f"{len(astray)} tests are not where their tier is looked for (PLACES of run_tiers), or "
            f"are patient without being local; the first is {astray[0]}"
        )


def _is_astray(item: pytest.Item) -> bool:
    """Whether a run of the test's tier would not meet it."""
    if item.get_closest_marker("patient") and not item.get_closest_marker("local"):
        return True
    place = item.path.relative_to(Path(__file__).parent).parts[0]
    return any(item.get_closest_marker(tier) and place not in PLACES[tier] for tier in PLACES)


@pytest.fixture(autouse=True)
def hpclaunch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's files of this test; nothing of the real user is read or written."""
    for key in list(os.environ):
        if key.startswith("HPCLAUNCH_"):
            monkeypatch.delenv(key)
    home = tmp_path / "hpclaunch-home"
    monkeypatch.setenv("HPCLAUNCH_HOME", str(home))
    return home
