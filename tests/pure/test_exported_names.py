"""The public Python API: what is in it, and that importing it costs nothing on a node."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import hpclaunch

PUBLIC = {
    "HpclaunchError",
    "LoadedSite",
    "Memory",
    "Plan",
    "Request",
    "Site",
    "Walltime",
    "__version__",
    "known_sites",
    "load_site",
    "make_plan",
}
"""Stable from the first release on: a name that leaves is a breaking change."""


def test_the_public_names_are_these():
    assert set(hpclaunch.__all__) == PUBLIC
    assert hpclaunch.__all__ == sorted(hpclaunch.__all__)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_what_its_home_calls_so(name):
    value = getattr(hpclaunch, name)
    if name == "__version__":
        assert value[0].isdigit()
    else:
        module, attribute = hpclaunch._HOMES[name]
        assert value is getattr(importlib.import_module(module), attribute)
        assert attribute in importlib.import_module(module).__all__
        assert value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = hpclaunch.nonsense


def modules() -> list[str]:
    return [
        one.name
        for one in pkgutil.walk_packages(hpclaunch.__path__, "hpclaunch.")
        if not one.ispkg and not one.name.endswith("__main__")
    ]


@pytest.mark.parametrize("name", modules())
def test_every_module_lists_its_public_names_and_has_them(name):
    if ".clusters." in name:
        pytest.importorskip("distributed")
    module = importlib.import_module(name)
    assert module.__doc__
    missing = [one for one in getattr(module, "__all__", []) if not hasattr(module, one)]
    assert missing == []


def test_importing_the_package_imports_none_of_its_parts():
    code = "import sys, hpclaunch; print([m for m in sys.modules if m.startswith('hpclaunch.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
