"""Every failure of the table has a name, is told once and again, and leaves nothing."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import provoke
from tests.e2e.conftest import Place
from tests.e2e.failures import FAILURES, Failure, says
from tests.e2e.stage import SlurmsWords, Stage
from tests.support.cluster import PROFILE
from tests.support.launch import Laptop

PROMPT = 5.0
"""Seconds from the scheduler showing a failure to the end of `start`."""


def _parameters(daemons: bool) -> list[object]:
    return [
        pytest.param(
            one,
            site,
            id=f"{one.name}-{site}",
            marks=[
                pytest.mark.local if site == "local" else pytest.mark.cluster,
                *([pytest.mark.long] if one.is_long(site) else []),
            ],
        )
        for one in FAILURES
        if one.daemons is daemons
        for site in one.on
    ]


@pytest.fixture
def stage(request: pytest.FixtureRequest, laptop: Laptop, tmp_path: Path) -> Iterator[Stage]:
    """The laptop and the site of the test's `site`."""
    site = request.node.callspec.params["site"]
    if site == "local":
        place = Place("local", "local")
    else:
        cluster = request.getfixturevalue("cluster")
        place = Place(site, str(PROFILE), ("--set", f"login.transport={site}"), cluster)
    with contextlib.ExitStack() as after:
        one = Stage(laptop, place, f"f{secrets.token_hex(3)}", tmp_path, after)
        after.callback(lambda: [process.kill() for process in one.started])
        yield one


@pytest.mark.parametrize(("failure", "site"), _parameters(daemons=False))
def test_failure(failure: Failure, site: str, stage: Stage) -> None:
    fails_as_the_table_says(failure, stage)


def fails_as_the_table_says(failure: Failure, stage: Stage) -> None:
    """Bring it about; hold what is said, how soon, and what is left against the table."""
    with contextlib.ExitStack() as watching:
        watched = failure.shown and not stage.place.is_local
        slurm = watching.enter_context(SlurmsWords(stage.name)) if watched else None
        process = getattr(provoke, failure.name.replace("-", "_"))(stage)
        code = process.wait(150)
        over = time.time()
        if slurm is not None:
            slurm.look_after(over)  # the watcher may be a look behind
    told = stage.told()
    assert code == 1, told
    _is_one_error(failure, told, stage.output() if failure.batch else "")
    if slurm is not None:
        shown = slurm.first(failure.shown)
        assert shown is not None, f"Slurm showed only {slurm.all()}\n{told}"
        assert over - shown < PROMPT, f"{over - shown:.1f} s after {slurm.all()}\n{told}"
    if failure.on_record:
        _is_said_again(failure, stage)
    if failure.name == "second-start":
        assert stage.record()["outcome"] is None, "the first session goes on"
        assert stage.laptop.run("stop", stage.name).returncode == 0
    if failure.name == "node-failure":
        provoke.revive(stage)  # slurmd ends what it finds of the job, once it runs again
    stage.leaves_nothing()


def _is_one_error(failure: Failure, told: str, output: str) -> None:
    """One error and one hint, and the log: in the error, or in the `output` before it."""
    lines = told.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert len(errors) == 1 and len(hints) == 1, told
    assert "Traceback" not in told.partition("last lines of the log:")[0], told
    assert says(errors[0], failure.error), told
    assert says(hints[0], failure.next), told
    said, log = _part(told, "  the site said:"), _part(told, "  last lines of the log:")
    assert says(said, failure.said), told
    assert says(f"{output}\n{log}", failure.log), f"{output}\n{told}"


def _part(told: str, head: str) -> str:
    """The indented lines below a head."""
    out = []
    for line in told.partition(head + "\n")[2].splitlines():
        if not line.startswith("    "):
            break
        out.append(line)
    return "\n".join(out)


def _is_said_again(failure: Failure, stage: Stage) -> None:
    again = stage.laptop.run("why", stage.name)
    assert again.returncode == 0, again.stderr
    cause, _, rest = again.stdout.partition("\n")
    evidence, _, step = rest.rpartition("next: ")
    assert says(cause, failure.error), again.stdout
    assert says(evidence, failure.said) and says(evidence, failure.log), again.stdout
    assert says(step, failure.next), again.stdout
    state = stage.laptop.sessions()[stage.name]["state"]
    assert state == ("ended" if failure.name == "walltime" else "failed")
