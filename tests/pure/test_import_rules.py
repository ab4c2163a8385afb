"""Imports only run down: who may know whom, read off the source (docs/architecture.md)."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import hpclaunch

PACKAGE = Path(hpclaunch.__file__).parent

GROUND = {"errors", "filesystems", "shell", "units"}
"""Known to all, and run on nodes too."""

MAY_IMPORT: dict[str, set[str]] = {
    "errors": {"shell"},
    "filesystems": set(),
    "shell": set(),
    "units": set(),
    "frame": {"errors", "shell"},
    "paths": {"errors"},
    "node": {"shell", "units"},
    "schedulers": {*GROUND, "node"},
    "clusters": {*GROUND, "frame", "node", "schedulers"},
    "transports": {"errors", "frame", "shell", "paths"},
    "sites": {*GROUND, "paths"},
    "tls": {"node"},
    "survey": {*GROUND, "remote", "sites"},
    "limits": {*GROUND, "schedulers", "sites"},
    "request": {"units"},
    "block": {*GROUND, "limits", "node", "request", "schedulers", "sites"},
    "personal": {*GROUND, "sites"},
    "activation": {*GROUND, "block", "node", "request", "sites"},
    "plan": {
        *(
            *GROUND,
            "activation",
            "block",
            "limits",
            "node",
            "paths",
            "personal",
            "request",
            "schedulers",
        ),
        "sites",
    },
    "script": {*GROUND, "activation", "node", "plan", "schedulers", "templates"},
    "templates": {*GROUND, "paths"},
    "bundle": {"script"},
    "export": {*GROUND, "node", "plan", "script", "tls"},
    "remote": {"paths"},
    "sessions": {
        *(
            *GROUND,
            "activation",
            "bundle",
            "node",
            "paths",
            "personal",
            "plan",
            "remote",
            "request",
        ),
        *("schedulers", "script", "sites", "tls", "transports"),
    },
    "checks": {
        *(*GROUND, "activation", "node", "paths", "plan", "request", "sessions", "sites", "survey"),
    },
    "keeper": {*GROUND, "node", "paths", "schedulers", "sessions", "tls", "transports"},
    "doctor": {
        *(*GROUND, "bundle", "checks", "keeper", "paths", "plan", "remote", "request", "sessions"),
        *("sites", "survey", "transports"),
    },
    "cli": {
        *(
            *GROUND,
            "bundle",
            "checks",
            "demo",
            "doctor",
            "export",
            "keeper",
            "node",
            "paths",
            "plan",
        ),
        *("remote", "request", "schedulers", "script", "sessions", "sites", "storage", "survey"),
        "transports",
    },
    "demo": {"errors", "node", "shell", "transports"},
    "storage": GROUND,
    "__main__": {"cli"},
    "__init__": set(),
}
"""The rooms that each room may import, besides itself."""

INSIDE_JUPYTER = {"node.labserver", "node.labpages", "node.labpulse"}
"""Modules of `node` that the environment's Jupyter runs; nobody else imports them."""

USERS_ENVIRONMENT = {
    "node": {"jupyter_client", "jupyter_server", "jupyter_server_proxy", "jupyterlab", "tornado",
             "traitlets", "zmq"},
    "clusters": {"bokeh", "dask", "dask_jobqueue", "dask_mpi", "distributed", "mpi4py", "nbclient",
                 "nbconvert", "nbformat", "ipykernel", "jupyter_client", "tornado"},
    "storage": {"aiohttp", "blosc2", "dask", "deflate", "distributed", "fsspec", "h5py", "icechunk",
                "kerchunk", "matplotlib", "mpi4py", "netCDF4", "numcodecs", "numpy", "pandas",
                "virtualizarr", "xarray", "zarr"},
}  # fmt: skip
"""What the user's environment on the site has; no other package is there."""

POSIX_ONLY = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


@dataclass(frozen=True)
class Import:
    """One import statement of a module.

    Attributes
    ----------
    module : str
        What is imported, dotted.
    at_once : bool
        Whether importing the module runs it: it stands in no function, and below no check of the
        type checker or of the platform.
    """

    module: str
    at_once: bool

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


@functools.cache
def sources() -> dict[str, Path]:
    """The files of the package by their dotted names, without ``hpclaunch.``."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        found[name if name == "__init__" else name.removesuffix(".__init__")] = file
    return found


@functools.cache
def imports(name: str) -> tuple[Import, ...]:
    """Everything that a module imports, wherever the statement stands."""
    return tuple(_imports(ast.parse(sources()[name].read_text(encoding="utf-8")), True))


def _imports(tree: ast.AST, at_once: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        now = at_once and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(node, ast.If):
            now = now and not re.search(
                r"TYPE_CHECKING|sys\.platform|os\.name", ast.unparse(node.test)
            )
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, now)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                known = inner.removeprefix("hpclaunch.") in sources()
                yield Import(inner if known else node.module, now)
        yield from _imports(node, now)


def ours(name: str) -> list[str]:
    """The modules of hpclaunch that a module imports, without ``hpclaunch.``."""
    return [
        one.module.removeprefix("hpclaunch.") for one in imports(name) if one.package == "hpclaunch"
    ]


def room(name: str) -> str:
    return name.partition(".")[0]


def inside_jupyter(name: str) -> bool:
    """Whether the environment's Jupyter runs this module of `node`: those are called ``lab...``."""
    return name.startswith("node.lab")


def foreign(name: str) -> set[str]:
    """The packages from outside the standard library that a module imports."""
    return {one.package for one in imports(name)} - {"hpclaunch"} - set(sys.stdlib_module_names)


def test_every_room_has_its_rule():
    assert {room(name) for name in sources()} == set(MAY_IMPORT)


@pytest.mark.parametrize("name", sources())
def test_imports_only_run_down(name):
    allowed = {*MAY_IMPORT[room(name)], room(name)}
    if name == "__init__":
        return  # types only, see below
    wrong = [other for other in ours(name) if room(other) not in allowed]
    assert wrong == []


def test_the_package_itself_imports_nothing_at_once():
    assert not [one for one in imports("__init__") if one.at_once and one.package == "hpclaunch"]


def test_the_rules_have_no_circle():
    """A room stands above all it imports."""
    stand: list[str] = []
    left = dict(MAY_IMPORT)
    while left:
        ready = [name for name, below in left.items() if below <= set(stand)]
        assert ready, f"these know each other: {sorted(left)}"
        stand += ready
        for name in ready:
            del left[name]


def test_the_rules_of_the_house_are_in_the_table():
    below_cli = set(MAY_IMPORT) - {"cli", "__main__"}
    assert not any("cli" in MAY_IMPORT[name] for name in below_cli)
    assert "transports" not in MAY_IMPORT["schedulers"]
    assert "schedulers" not in MAY_IMPORT["transports"]
    for name in ("node", "schedulers", "clusters", *GROUND):
        assert not MAY_IMPORT[name] & {"sites", "plan", "sessions", "keeper", "transports", "paths"}
    assert "keeper" not in MAY_IMPORT["sessions"]


def test_plans_and_scripts_know_no_scheduler_in_particular():
    for name in ("plan", "limits", "block", "request", "script"):
        assert {other for other in ours(name) if room(other) == "schedulers"} <= {"schedulers.base"}


@pytest.mark.parametrize(
    "name", [name for name in sources() if room(name) in ("node", "frame", *GROUND)]
)
def test_the_node_needs_the_standard_library_only(name):
    allowed = USERS_ENVIRONMENT["node"] if inside_jupyter(name) else set()
    assert foreign(name) <= allowed


@pytest.mark.parametrize(
    "name", [name for name in sources() if room(name) in ("clusters", "schedulers")]
)
def test_the_cluster_needs_what_the_users_environment_has(name):
    assert foreign(name) <= USERS_ENVIRONMENT.get(room(name), set())


def test_what_runs_inside_jupyter_is_imported_by_nobody_else():
    assert any(map(inside_jupyter, sources()))
    for name in sources():
        if not inside_jupyter(name):
            assert not any(map(inside_jupyter, ours(name))), name


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in sources()
        if room(name) in ("node", "clusters", "schedulers", "frame", *GROUND)
    ],
)
def test_what_runs_on_a_node_is_python_3_9(name):
    """An environment's Python may be older than the laptop's."""
    text = sources()[name].read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 9))
    empty = not text.strip()
    assert empty or "from __future__ import annotations" in text


@functools.cache
def closure(name: str) -> frozenset[str]:
    """What importing a module imports of hpclaunch, by and by."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in seen or one not in sources():
            continue
        seen.add(one)
        waiting += [
            other.module.removeprefix("hpclaunch.")
            for other in imports(one)
            if other.at_once and other.package == "hpclaunch"
        ]
    return frozenset(seen)


@pytest.mark.parametrize(
    "name", [name for name in sources() if room(name) in ("cli", "keeper", "sessions", "sites")]
)
def test_the_laptop_may_be_a_windows_machine(name):
    """Only OpenSSH's transport, imported where it is chosen, is for POSIX alone."""
    for one in closure(name):
        wrong = {other.module for other in imports(one) if other.at_once} & POSIX_ONLY
        assert not wrong, f"{one} imports {wrong}"


def test_a_keeper_starts_without_models_and_templates():
    """It is started while somebody waits; only an answer to the site may take its time."""
    heavy = {"pydantic", "jinja2", "cryptography", "paramiko", "rich"}
    for one in closure("keeper.service"):
        at_once = {other.package for other in imports(one) if other.at_once}
        assert not at_once & heavy, one


def test_make_believe_commands_need_the_standard_library_only():
    """They are started many times a minute, on a Python without packages."""
    assert {room(one) for one in closure("demo.programs")} <= {"demo", "shell"}
    assert not any(foreign(one) for one in closure("demo.programs"))


def test_the_search_would_find_a_posix_module():
    assert any(other.module in POSIX_ONLY for name in sources() for other in imports(name))


WHAT_CAN_BE_TYPED = {
    *("cli", "cli.data_parser", "cli.options", "cli.parser", "cli.site_parser"),
    *("__init__", "__main__"),
}


@pytest.mark.parametrize("name", sorted(WHAT_CAN_BE_TYPED))
def test_help_needs_the_standard_library_only(name):
    at_once = {one.package for one in imports(name) if one.at_once} - {"hpclaunch"}
    assert at_once <= set(sys.stdlib_module_names)
    assert closure(name) <= WHAT_CAN_BE_TYPED
