"""The agent runs in environments that have nothing, on Pythons older than the laptop's."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import hpclaunch.node

pytestmark = pytest.mark.pure

MODULES = sorted(Path(hpclaunch.node.__path__[0]).glob("*.py"))
OURS = ("hpclaunch.node", "hpclaunch.shell", "hpclaunch.units")
IN_JUPYTERS_PROCESS = ("labserver.py", "labpages.py", "labpulse.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_syntax_is_that_of_python_39(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_imports_are_in_the_standard_library(path: Path) -> None:
    if path.name in IN_JUPYTERS_PROCESS:
        return
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module))
    strange = {
        name
        for name in found
        if not name.startswith(OURS) and name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert strange == set()
