"""Failures for which daemons and nodes of the cluster are stopped for a while.

In a file of their own, because other users of the cluster notice. Each is put right at the end.
"""

from __future__ import annotations

import pytest

from tests.e2e import provoke
from tests.e2e.failures import HARMLESS, Failure, Harmless, says
from tests.e2e.stage import Stage
from tests.e2e.test_failures import _parameters, fails_as_the_table_says
from tests.e2e.test_failures import stage as stage  # the fixture


@pytest.mark.parametrize(("failure", "site"), _parameters(daemons=True))
def test_failure(failure: Failure, site: str, stage: Stage) -> None:
    fails_as_the_table_says(failure, stage)


@pytest.mark.cluster
@pytest.mark.parametrize("site", ["openssh"])
@pytest.mark.parametrize(
    "accident",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.long] if one.long else [])
        for one in HARMLESS
    ],
)
def test_a_session_survives(accident: Harmless, site: str, stage: Stage) -> None:
    process = getattr(provoke, accident.name.replace("-", "_"))(stage)
    document = stage.document(process)
    assert document["state"] == "ready"
    assert says(stage.told(), accident.told), stage.told()
    assert stage.laptop.run("stop", stage.name).returncode == 0
    process.wait(20)
    stage.leaves_nothing()
