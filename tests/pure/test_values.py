"""Directives and directories with everybody's own values: who gives them, what is told without."""

from __future__ import annotations

from typing import Any

import pytest

from hpclaunch.cli import main
from hpclaunch.errors import PlanError
from hpclaunch.plan import make_plan
from hpclaunch.request import Request
from tests.pure.plans import loaded
from tests.pure.sites import load_content, slurm_with, user_toml, write_toml

pytestmark = pytest.mark.pure

ASKS = ["--licenses={filesystems}", "--comment=of {account}", "--constraint=cpu"]
SCHEDULER: dict[str, Any] = {"kind": "slurm", "directives": ASKS}
WORKERS = {"workers": 2, "memory": "4 GB"}


def test_a_value_of_the_profile_is_everybodys_and_the_users_own_goes_before_it(tmp_path):
    profile = slurm_with(scheduler=SCHEDULER, values={"filesystems": "home"}, dask=WORKERS)
    wish = Request(account="P1")
    plan = make_plan(load_content(tmp_path, profile), wish, name="x")
    assert plan.job.extra == ("--licenses=home", "--comment=of P1", "--constraint=cpu")
    assert plan.worker is not None and plan.worker.job.extra == plan.job.extra
    user_toml({"big": {"account": "P2", "values": {"filesystems": "home,eagle"}}})
    plan = make_plan(load_content(tmp_path, profile), Request(), name="x")
    assert plan.job.extra[:2] == ("--licenses=home,eagle", "--comment=of P2")
    set_now = load_content(tmp_path, profile, "values.filesystems=grand")
    assert make_plan(set_now, Request(), name="x").job.extra[0] == "--licenses=grand"


@pytest.mark.parametrize(
    ("account", "name", "key"),
    [("P1", "filesystems", "values.filesystems"), (None, "account", "account")],
)
def test_a_value_that_nobody_gives_is_asked_for_with_the_line_to_write(account, name, key):
    values = {} if account else {"filesystems": "home"}
    site = loaded(scheduler=SCHEDULER, values=values)
    with pytest.raises(PlanError, match=f"site big needs a value for {{{name}}}") as lacks:
        make_plan(site, Request(account=account), name="x")
    assert f'write it once: {key} = "…" in [big] of user.toml' in str(lacks.value.hint)


def test_a_dry_run_shows_where_it_will_stand(capsys, tmp_path, hpclaunch_home):
    path = write_toml(tmp_path / "big.toml", slurm_with(scheduler=SCHEDULER))
    assert main(["start", str(path), "--account", "P1", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "#SBATCH --licenses='<FILESYSTEMS>'" in said.out
    assert "#SBATCH --comment='of P1'" in said.out
    assert f"warning: site big needs a value for {{filesystems}} (directives in {path}" in said.err
    assert main(["start", str(path), "--account", "P1", "--no-browser"]) == 1
    assert "hint: write it once: values.filesystems" in capsys.readouterr().err


def test_what_is_no_name_in_braces_stays_as_it_is():
    scheduler = {"kind": "slurm", "directives": ["--comment={a b}{}${HOME}"]}
    with pytest.raises(PlanError, match=r"{HOME}"):
        make_plan(loaded(scheduler=scheduler), Request(), name="x")
    scheduler = {"kind": "slurm", "directives": ["--comment={a b}{}"]}
    assert make_plan(loaded(scheduler=scheduler), Request(), name="x").job.extra == (
        "--comment={a b}{}",
    )


PATHS = {"base": "/work/{project}/{user}/.hpc", "notebooks": "/work/{project}/{user}"}
SPILL = {**WORKERS, "local_directory": "/scratch/{project}/${USER}"}


def test_directories_hold_values_too_and_the_login_name_is_one(tmp_path):
    user_toml({"big": {"user": "jane", "values": {"project": "p1"}}})
    site = load_content(tmp_path, slurm_with(paths=PATHS, dask=SPILL))
    plan = make_plan(site, Request(), name="x")
    assert (plan.base, plan.root_dir) == ("/work/p1/jane/.hpc", "/work/p1/jane")
    assert plan.worker is not None
    assert plan.worker.local_directory == "/scratch/p1/${USER}", "the job's shell knows that one"
    asked = make_plan(site, Request(notebook_dir="~/mine"), name="x")
    assert asked.root_dir == "~/mine"


@pytest.mark.parametrize(
    ("values", "name", "where", "line"),
    [
        ({"project": "p1"}, "user", "base", 'user = "…" in [big] of user.toml'),
        ({}, "project", "local_directory", 'values.project = "…" in [big] of user.toml'),
    ],
)  # fmt: skip
def test_what_a_directory_lacks_is_asked_for_before_anything_is_made(values, name, where, line):
    site = loaded(paths=PATHS, dask=SPILL, values=values)
    with pytest.raises(PlanError, match=rf"needs a value for {{{name}}} \({where} in") as lacks:
        make_plan(site, Request(), name="x")
    assert line in str(lacks.value.hint)
    draft = make_plan(site, Request(), name="x", draft=True)
    assert f"<{name.upper()}>" in draft.base
    assert any(f"{{{name}}}" in warning for warning in draft.warnings)


def test_a_value_may_hold_the_account_and_the_login_name():
    scheduler = {"kind": "slurm", "directives": ["--comment={storage}"]}
    site = loaded(scheduler=scheduler, values={"storage": "scratch/{account}+gdata/{storage}"})
    plan = make_plan(site, Request(account="ab1"), name="x")
    assert plan.job.extra == ("--comment=scratch/ab1+gdata/{storage}",)
    with pytest.raises(PlanError, match=r"needs a value for \{account\}"):
        make_plan(site, Request(), name="x")


def test_a_value_that_would_cut_the_python_path_is_refused():
    site = loaded(paths={"base": "/work/{project}"}, values={"project": "a:b"})
    with pytest.raises(PlanError, match="PYTHONPATH would be cut at the colon"):
        make_plan(site, Request(), name="x")
