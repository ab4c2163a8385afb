"""What a job measures of its node, on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hpclaunch.node import versions
from hpclaunch.node.layout import Layout
from hpclaunch.node.measure import measure, write_facts
from hpclaunch.node.sight import Directory, NodeFacts, Sights

pytestmark = pytest.mark.pure


def directory(path: Path | str) -> Directory:
    return measure("n", Sights({"x": str(path)})).directories["x"]


def test_a_directory_is_tried_by_writing(tmp_path):
    assert directory(tmp_path) == Directory(str(tmp_path), True, True)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_missing_may_be_made(tmp_path):
    assert directory(tmp_path / "a" / "b") == Directory(str(tmp_path / "a" / "b"), False, True)
    assert directory("/proc/no/such") == Directory("/proc/no/such", False, False)


def test_a_directory_that_takes_no_file_is_not_writable():
    """Whatever its permissions are: root may do nothing there either."""
    assert directory("/proc") == Directory("/proc", True, False)


def test_home_and_variables_are_the_jobs_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    assert directory("~/x").path == directory("$SCRATCH/x").path == str(tmp_path / "x")
    monkeypatch.delenv("SCRATCH")
    assert directory("$SCRATCH/x") == Directory("$SCRATCH/x", False, False)


@pytest.mark.parametrize(
    ("argv", "exit", "words"),
    [
        (("sh", "-c", "echo yes"), 0, "yes"),
        (("sh", "-c", "echo no >&2; exit 3"), 3, "no"),
        (("/no/such/command",), None, "No such file"),
    ],
)
def test_the_scheduler_is_asked_by_its_command(argv, exit, words):
    told = measure("n", Sights({}, argv)).scheduler
    assert told is not None
    assert told.exit == exit
    assert words in told.stdout + told.stderr


def test_a_command_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("hpclaunch.node.measure._PATIENCE", 0.1)
    told = measure("n", Sights({}, ("sleep", "60"))).scheduler
    assert told is not None
    assert told.exit is None
    assert "no answer" in told.stderr


def test_facts_are_read_back_as_they_were_written(tmp_path):
    write_facts(str(tmp_path), "0123abcd", Sights({"paths.base": str(tmp_path)}, ("true",)))
    facts = NodeFacts.from_dict(json.loads((tmp_path / Layout.FACTS).read_text()))
    assert facts.nonce == "0123abcd"
    assert facts.python == sys.executable
    assert facts.packages["jupyterlab"] == versions.version_of("jupyterlab")
    assert facts.directories == {"paths.base": Directory(str(tmp_path), True, True)}
    assert not any(address.startswith("127.") for address in facts.interfaces.values())


def test_packages_that_are_not_there_are_left_out():
    assert versions.found_here(["no-such-package"])["packages"] == {}
