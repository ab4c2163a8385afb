"""Every shell script of the repository passes shellcheck, and the check sees what it should."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import lint_shell
from tests.lint_shell import ROOT, findings, groups, scripts


def test_no_script_has_a_finding():
    assert findings(scripts()) == []


def test_every_kind_of_script_is_looked_at():
    names = {str(file.relative_to(ROOT)) for file in scripts()}
    assert {
        ".ci/run",
        "docker/cluster",
        "docker/engine",
        "docker/lib/common.sh",
        "templates/remote/submit.sh",
        "tests/install_system_packages.sh",
        "tests/golden/local.sh",
    } <= names
    assert not any(name.endswith((".py", ".j2", ".toml")) for name in names)
    assert {file for group in groups(scripts()).values() for file in group} == set(scripts())


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.sh", "#!/bin/sh\nrm $1\n", "SC2086"),
        ("a", "#!/usr/bin/env bash\nrm $1\n", "SC2086"),
        ("a.sh", "#!/bin/sh\n[[ a = b ]]\n", "SC3010"),
        ("a.sh", "# shellcheck shell=bash\nrm $1\n", "SC2086"),
    ],
)
def test_a_fault_is_found(tmp_path, name, text, code):
    (tmp_path / name).write_text(text)
    assert any(code in line and f"{name}:2:" in line for line in findings([tmp_path / name]))


def test_a_remote_script_is_held_against_posix_sh(tmp_path, monkeypatch):
    monkeypatch.setattr(lint_shell, "ROOT", tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "x.sh").write_text("# usage: x.sh\nlocal x\n")
    assert any("SC3043" in line for line in findings([tmp_path / "templates" / "x.sh"]))


def test_the_command_fails_with_its_findings():
    done = subprocess.run(
        [sys.executable, "tests/lint_shell.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("shellcheck: 0 findings in ")


def test_without_shellcheck_nothing_is_clean(monkeypatch, capsys):
    monkeypatch.setattr(lint_shell, "shellcheck", lambda: None)
    assert lint_shell.main() == 2
    assert "shellcheck is missing" in capsys.readouterr().err


def test_findings_make_the_command_fail(monkeypatch, capsys, tmp_path):
    (tmp_path / "a.sh").write_text("#!/bin/sh\nrm $1\n")
    monkeypatch.setattr(lint_shell, "scripts", lambda: [tmp_path / "a.sh"])
    assert lint_shell.main() == 1
    assert "SC2086" in capsys.readouterr().out
