"""Fixtures of the pure tests."""

from __future__ import annotations

import pytest

from tests.pure.remote import SHELLS


@pytest.fixture(params=SHELLS, scope="session")
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell that /bin/sh is at some site."""
    return str(request.param)
