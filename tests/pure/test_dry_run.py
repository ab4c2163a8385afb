"""`start --dry-run` prints a batch script and touches nothing; what is typed wrongly is told.

The keys of `list --json` and `why --json` as well: programs read them.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpclaunch import paths
from hpclaunch.bundle import bundle
from hpclaunch.cli import main
from hpclaunch.errors import SessionFailed
from hpclaunch.plan import make_plan
from hpclaunch.request import Request
from hpclaunch.script import render_session
from hpclaunch.sessions.access import scheduler_for
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.way import Way
from hpclaunch.sites.catalog import load
from hpclaunch.transports.target import Target
from tests.pure.records import record
from tests.pure.sites import slurm_with, user_toml, write_toml

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "docker" / "slurm" / "site.toml"
SHIPPED = sorted((ROOT / "site_profiles").glob("*.toml"))
LIST_KEYS = {"name", "site", "state", "job", "reason", "expected_start", "ends_at", "as_of"}

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Run a command and return exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def is_a_script(text: str) -> bool:
    """Whether bash accepts all of it."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=30)
    assert done.stderr == "", text
    return done.returncode == 0 and text.startswith("#!/bin/bash\n")


def nothing_below(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def script_of(site: Path, nonce: str, **asked: str) -> str:
    """What is submitted for the session that ``--dry-run`` has shown, when ~ is known."""
    loaded = load(str(site))
    name = f"{loaded.site.name}-1"
    plan = make_plan(loaded, Request(**asked), name=name, nonce=nonce, draft=True)
    base = plan.base.replace("~", "/home/USER", 1)
    return render_session(
        plan,
        scheduler_for(loaded.site, base),
        session_dir=f"{base}/sessions/{plan.directory}",
        lib_dir=f"{base}/lib/{bundle().key}",
    )


# --dry-run


@pytest.mark.parametrize(
    ("site", "asked"),
    [
        pytest.param(CONTAINERS, {}, id="docker"),
        *[pytest.param(site, {"account": "x"}, id=site.stem) for site in SHIPPED],
    ],
)
def test_a_dry_run_prints_the_batch_script_and_nothing_else_and_touches_nothing(
    typed: Typed, hpclaunch_home: Path, site: Path, asked: dict[str, str]
) -> None:
    options = [word for key, value in asked.items() for word in (f"--{key}", value)]
    code, out, err = typed("start", str(site), "--dry-run", *options)
    assert code == 0, err
    assert "error:" not in err
    assert is_a_script(out)
    nonce = re.search(rf"/sessions/{load(str(site)).site.name}-1-([0-9a-f]{{8}})['\n]", out)
    assert nonce is not None, out
    assert out == script_of(site, nonce[1], **asked)
    assert nothing_below(hpclaunch_home)


@pytest.mark.parametrize("site", [CONTAINERS, *SHIPPED], ids=lambda path: path.stem)
def test_a_dry_run_as_json_is_one_document_with_the_script(
    typed: Typed, hpclaunch_home: Path, site: Path
) -> None:
    code, out, err = typed("start", str(site), "--account", "x", "--dry-run", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert set(document) == {"name", "site", "script"}
    assert document["site"] == load(str(site)).site.name
    assert document["name"] == f"{document['site']}-1"
    assert is_a_script(document["script"])
    assert nothing_below(hpclaunch_home)


def test_the_name_that_was_asked_for_is_in_script_and_document(typed: Typed) -> None:
    _, out, _ = typed("start", str(CONTAINERS), "--dry-run", "--json", "--name", "mine")
    document = json.loads(out)
    assert document["name"] == "mine"
    assert "#SBATCH --job-name=hpclaunch-mine-" in document["script"]


def test_without_a_site_it_is_the_default_site_of_the_user(typed: Typed) -> None:
    write_toml(paths.config_dir() / "sites" / "big.toml", slurm_with())
    user_toml({"default_site": "big"})
    code, out, err = typed("start", "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)["site"] == "big"


def test_without_a_site_and_a_default_it_is_this_machine(typed: Typed) -> None:
    code, out, err = typed("start", "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)["site"] == "local"


# Typed wrongly


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("",), "there is no site ''", id="site"),
        pytest.param((str(CONTAINERS), "--walltime", ""), "'' is not a walltime", id="walltime"),
        pytest.param((str(CONTAINERS), "--memory", ""), "'' is not an amount", id="memory"),
        pytest.param((str(CONTAINERS), "--name", ""), "'' is not a session name", id="name"),
        pytest.param((str(CONTAINERS), "--timeout", "-5"), "--timeout -5", id="timeout"),
    ],
)
@pytest.mark.parametrize("how", ["--dry-run", "--detach"])
def test_an_empty_or_impossible_word_is_an_error_with_a_hint_and_touches_nothing(
    typed: Typed, hpclaunch_home: Path, arguments: tuple[str, ...], said: str, how: str
) -> None:
    user_toml({"default_site": "local"})  # what is empty must not mean "as usual"
    code, out, err = typed("start", *arguments, how)
    assert code != 0
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ") and said in error
    assert hint.startswith("hint: ")
    assert [path.name for path in hpclaunch_home.iterdir()] == ["config"]


# What programs read

FAILED = {"state": "failed", "error": SessionFailed("it broke", hint="mend it").to_dict()}
ENDED = {"state": "ended", "error": None}
RUNS = {"state": "running", "word": "RUNNING", "reason": "None", "expected_start": None,
        "nodes": ["n1"]}  # fmt: skip
WAITS = {**RUNS, "state": "queued", "word": "PENDING", "nodes": []}
MET = {"version": 1, "nonce": record().nonce, "hostname": "n1", "port": 8888,
       "addresses": ["10.0.0.1"], "ends_at": "2026-11-24T20:00:00+00:00"}  # fmt: skip
SENT = {"submitting": 1_700_000_001.0, "job_id": "7", "as_of": 1_700_000_002.0}
STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "planned": ("planned", {}),
    "submitting": ("queued", {"submitting": 1_700_000_001.0}),
    "waits": ("queued", {**SENT, "job": {**WAITS, "reason": "Priority"}}),
    "never": ("queued", {**SENT, "job": {**WAITS, "reason": "PartitionTimeLimit"}}),
    "starts": ("starting", {**SENT, "job": RUNS}),
    "answers": ("unreachable", {**SENT, "job": RUNS, "rendezvous": MET, "tunnel": True}),
    "troubled": ("unreachable", {**SENT, "job": RUNS, "trouble": "no route"}),
    "ending": ("ending", {**SENT, "stopping": True}),
    "failed": ("failed", {**SENT, "outcome": FAILED}),
    "untidy": ("failed", {**SENT, "outcome": {**FAILED, "untidy": "the site was silent"}}),
    "idle": ("ended", {**SENT, "outcome": {**ENDED, "reason": "ended: idle for 1:00:00"}}),
    "ended": ("ended", {**SENT, "outcome": ENDED}),
}


@pytest.fixture
def stages() -> None:
    """A session at every stage of its life; no program holds a connection to its site."""
    book = Book()
    target = Way("openssh", Target(host="login.big.example")).to_dict()
    for name, (_, facts) in STAGES.items():
        book.create(record(name=name, target=target, **facts))


def test_a_listed_session_has_the_keys_of_the_contract_at_every_stage(
    typed: Typed, stages: None
) -> None:
    code, out, err = typed("list", "--json")
    assert (code, err) == (0, "")
    rows = {row["name"]: row for row in json.loads(out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        name: state for name, (state, _) in STAGES.items()
    }
    for row in rows.values():
        assert set(row) >= LIST_KEYS, row
        assert row["site"] == "big"
    assert rows["waits"]["job"] == "7" and rows["waits"]["reason"] == "Priority"
    assert rows["starts"]["reason"] is None, "Slurm's word for none is none"
    assert rows["answers"]["ends_at"] == MET["ends_at"]
    assert rows["planned"]["as_of"] is None and rows["planned"]["job"] is None


@pytest.mark.parametrize("name", STAGES)
def test_why_has_cause_evidence_and_next_at_every_stage(
    typed: Typed, stages: None, name: str
) -> None:
    code, out, err = typed("why", name, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert set(said) == {"cause", "evidence", "next"}
    assert isinstance(said["cause"], str) and said["cause"]
    assert isinstance(said["evidence"], list)
    assert said["next"] is None or isinstance(said["next"], str)


@pytest.mark.parametrize("name", STAGES)
def test_status_says_the_same_as_list(typed: Typed, stages: None, name: str) -> None:
    _, listed, _ = typed("list", "--json")
    code, out, _ = typed("status", name, "--json")
    assert code == 0
    assert [json.loads(out)] == [row for row in json.loads(listed) if row["name"] == name]
