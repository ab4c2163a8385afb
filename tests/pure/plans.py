"""Plans for tests, made as users' are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpclaunch.plan import Plan, make_plan
from hpclaunch.request import Request
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.script import render_session
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.sites.model import Site
from tests.pure.sites import SLURM

NONCE = "0123abcd"


def loaded(**tables: Any) -> LoadedSite:
    """The small SLURM site, or one with other tables."""
    return LoadedSite(Site.model_validate({**SLURM, **tables}), Path("/etc/hpclaunch/big.toml"))


def plan_of(request: Request | None = None, **tables: Any) -> Plan:
    """A session on that site."""
    return make_plan(loaded(**tables), request or Request(), name="big-1", nonce=NONCE)


@dataclass(frozen=True)
class Job:
    """A session's script, to be run by bash as a batch job is.

    Attributes
    ----------
    session, lib : Path
        The session's directory and hpclaunch's own modules.
    record : Path
        Where the fake interpreter and the fake ``module`` write what they were given.
    """

    session: Path
    lib: Path
    record: Path

    def script(self, plan: Plan) -> str:
        """The script as it would be submitted."""
        return render_session(plan, Slurm(), session_dir=str(self.session), lib_dir=str(self.lib))

    def environment(self, **variables: str) -> dict[str, str]:
        """A node's environment, with a ``module`` that keeps a record."""
        return {
            "PATH": os.defpath,
            "RECORD": str(self.record),
            "BASH_FUNC_module%%": '() { printf "%s\\0" module "$@" >>"$RECORD"; }',
            **variables,
        }

    def run(self, plan: Plan, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script to its end, in the directory of the record."""
        script = self.record.with_name("job.sh")
        script.write_text(self.script(plan), encoding="utf-8", newline="")
        return subprocess.run(
            ["bash", script],
            env=self.environment(**variables),
            cwd=self.record.parent,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def heard(self) -> list[str]:
        """What was written into the record."""
        return self.record.read_bytes().decode().split("\0")[:-1] if self.record.exists() else []

    def exit_file(self) -> Any:
        """The last word of the job."""
        return json.loads((self.session / "exit.json").read_text())


def job_in(folder: Path, session: str = "session", lib: str = "lib") -> Job:
    """A job with its directories made."""
    job = Job(folder / "s" / session, folder / "l" / lib, folder / "cwd" / "record")
    for directory in (job.session, job.lib, job.record.parent):
        directory.mkdir(parents=True)
    return job


INTERPRETER = """#!/bin/bash
printf '%s\\0' python "$PWD" "$PYTHONPATH" "$@" >>"$RECORD"
exit 3
"""


def fake_interpreter(path: Path, text: str = INTERPRETER) -> Path:
    """An interpreter that writes down what it is given, and ends with exit code 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def with_environment(plan: Plan, python: str | Path, **fields: Sequence[str]) -> Plan:
    """The plan with another environment."""
    return replace(plan, python=str(python), **{key: tuple(one) for key, one in fields.items()})
