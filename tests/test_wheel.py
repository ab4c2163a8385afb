"""The wheel works by itself: installed in an empty environment, it starts a session.

The environment gets the wheel and exactly what its metadata asks for, as links to the files of
this environment's own packages, found by their RECORDs: an undeclared dependency or a file that
is missing in the wheel is missing there. A test marked ``long`` lets pip install all of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.launch import eventually, processes_with

pytestmark = pytest.mark.local

ROOT = Path(__file__).parents[1]


def build_wheel(folder: Path, checkout: Path = ROOT, **environment: str) -> Path:
    """Build the wheel of a checkout, without the network."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, checkout],
        check=True,
        capture_output=True,
        env={**os.environ, **environment},
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


def needed(wheel: Path, extra: str) -> dict[str, metadata.Distribution]:
    """The installed distributions that the wheel's metadata asks for, theirs too."""
    found: dict[str, metadata.Distribution] = {}
    (about,) = metadata.Distribution.discover(path=[str(wheel)])
    waiting = [(text, {"", extra}) for text in about.requires or ()]
    while waiting:
        text, extras = waiting.pop()
        one = Requirement(text)
        if one.marker and not any(one.marker.evaluate({"extra": name}) for name in extras):
            continue
        distribution = metadata.distribution(one.name)
        assert one.specifier.contains(distribution.version, prereleases=True), text
        key = f"{canonicalize_name(one.name)}{sorted(one.extras)}"
        if key not in found:
            found[key] = distribution
            waiting += [(inner, {"", *one.extras}) for inner in distribution.requires or ()]
    return {one.name: one for one in found.values()}


def link_into(environment: Path, distribution: metadata.Distribution) -> None:
    """Link the files of an installed distribution into another environment, commands excepted."""
    here = Path(sysconfig.get_path("purelib"))
    there = environment / here.relative_to(sys.prefix)
    for file in distribution.files or ():
        source = Path(os.path.normpath(here / file))
        target = Path(os.path.normpath(there / file))
        if "bin" in target.relative_to(environment).parts[:1] or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:  # several distributions may share a file
            continue
        except OSError:  # another filesystem
            target.symlink_to(source)


def surroundings(home: Path) -> dict[str, str]:
    """A user's shell: nothing of the checkout or of this environment is on any path."""
    kept = {key: os.environ[key] for key in ("LANG", "LC_ALL", "TZ", "TMPDIR") if key in os.environ}
    return {**kept, "PATH": os.defpath, "HOME": str(home / "user"), "HPCLAUNCH_HOME": str(home)}


class Installed:
    """The command of an environment, and a user of it."""

    def __init__(self, environment: Path, home: Path) -> None:
        self.environment = environment
        self.home = home
        (home / "user" / "work").mkdir(parents=True)

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of the environment that must succeed, in a directory of the user's."""
        done = subprocess.run(
            [self.environment / "bin" / program, *arguments],
            env=surroundings(self.home),
            cwd=self.home / "user" / "work",
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Iterator[Installed]:
    """The wheel in an empty environment, with what it asks for and nothing else."""
    environment = tmp_path / "env"
    venv.create(environment, symlinks=True)
    for distribution in needed(wheel, "site").values():
        link_into(environment, distribution)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install",
         "--quiet", "--no-deps", "--no-index", wheel],
        check=True, capture_output=True,
    )  # fmt: skip
    one = Installed(environment, tmp_path / "home")
    yield one
    one.run("hpclaunch", "stop", "--all")


def start_and_stop(installed: Installed) -> dict[str, Any]:
    """Start a session with a worker, look at it, stop it; nothing is left."""
    document = json.loads(
        installed.run(
            "hpclaunch", "start", "local", "--workers", "1", "--detach", "--json", "--no-browser"
        )
    )
    assert document["state"] == "ready"
    address = document["url"].replace("/lab?", "/api/status?")
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert "kernels" in json.load(answer)
    with urllib.request.urlopen(document["url"], timeout=30) as answer:
        assert b"JupyterLab" in answer.read()
    installed.run("hpclaunch", "stop", document["name"])
    assert list((installed.home / "data" / "sessions").iterdir()) == []
    assert list((installed.home / "user" / "work").iterdir()) == []
    eventually(lambda: not processes_with(str(installed.home)), what="no process is left")
    return dict(document)


def test_a_session_starts_from_the_wheel_alone(installed):
    where = "import hpclaunch, sys; print(hpclaunch.__file__); print(*sys.path, sep='\\n')"
    file, *paths = installed.run("python", "-c", where).splitlines()
    assert Path(file).is_relative_to(installed.environment)
    assert not any(str(ROOT) in path for path in paths)
    origin = installed.run("hpclaunch", "site", "show", "local", "--origin")
    assert f"# {installed.environment}/lib/" in origin and str(ROOT) not in origin
    document = start_and_stop(installed)
    assert document["dask"]["workers"] == 1
    assert document["job"]["scheduler"] == "local"


def test_the_wheel_holds_the_package_and_what_it_ships(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "hpclaunch").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    shipped = {
        f"hpclaunch/_data/{file.relative_to(ROOT).as_posix()}"
        for folder in ("site_profiles", "templates")
        for file in (ROOT / folder).rglob("*")
        if file.is_file()
    }
    assert package and shipped
    assert {name for name in names if ".dist-info/" not in name} == package | shipped


def test_a_wheel_with_compiled_code_is_for_this_kind_of_machine(wheel):
    assert shutil.which("cc"), "no C compiler: `make test` needs one"
    assert wheel.name.endswith(f"-py3-none-{sysconfig.get_platform().replace('-', '_')}.whl")
    assert "hpclaunch/storage/lib/chunks.so" in zipfile.ZipFile(wheel).namelist()


def test_without_a_compiler_the_wheel_is_for_every_machine(tmp_path):
    checkout = tmp_path / "checkout"
    leave = shutil.ignore_patterns(".*", "lib", "docs", "tests", "docker")
    shutil.copytree(ROOT, checkout, ignore=leave, symlinks=True)
    wheel = build_wheel(tmp_path / "dist", checkout, CC="no-compiler-of-this-name")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"hpclaunch/storage/{name}" for name in ("chunks.c", "values.h")} < set(names)
    assert "hpclaunch/storage/lib/chunks.so" not in names


LAPTOPS_PACKAGES = """
from tests.pure.test_import_rules import foreign, room, sources
mine = [name for name in sources() if room(name) not in ("node", "clusters", "storage")]
print(*sorted({package for name in mine for package in foreign(name)}))
"""


def test_every_declared_dependency_is_a_package_that_is_imported(wheel):
    """Neither too few nor too many: what the laptop's side imports is what the wheel asks for."""
    # In a process of its own: Python 3.11's ast stumbles over threads that other tests have left.
    asked = [sys.executable, "-c", LAPTOPS_PACKAGES]
    laptop = subprocess.run(
        asked, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    homes = metadata.packages_distributions()
    imported = {canonicalize_name(homes[package][0]) for package in laptop}
    (about,) = metadata.Distribution.discover(path=[str(wheel)])
    required = [Requirement(text) for text in about.requires or ()]
    declared = {canonicalize_name(one.name) for one in required if one.marker is None}
    assert imported - {"pydantic-core"} == declared  # which pydantic brings, in its own version


@pytest.mark.long
def test_pip_installs_the_wheel_and_a_session_starts(wheel, tmp_path):
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True, symlinks=True)
    subprocess.run(
        [environment / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[site]"],
        check=True,
        capture_output=True,
    )
    start_and_stop(Installed(environment, tmp_path / "home"))
