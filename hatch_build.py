"""Compile hpclaunch/storage/chunks.c where there is a C compiler; without one Python does its work.

The wheel then holds a library for this kind of machine, which no Python's own interface binds.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

SOURCE = Path("hpclaunch/storage/chunks.c")
LIBRARY = SOURCE.parent / "lib" / "chunks.so"
FLAGS = ("-O3", "-std=c99", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Wextra")


class CompiledChunks(BuildHookInterface):
    """Of wheels and of editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say for which machines the wheel is."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        if why := trouble(root / SOURCE, root / LIBRARY):
            self.app.display_warning(f"{SOURCE} is not compiled, reading is slower: {why}")
            return
        build_data["tag"] = f"py3-none-{platform()}"
        build_data["pure_python"] = False
        build_data["artifacts"].append(str(LIBRARY))


def platform() -> str:
    """This machine, as pip calls it; another one where Python is built for that."""
    if "_PYTHON_HOST_PLATFORM" in os.environ:
        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
    every = (one.platform for one in sys_tags())
    return next(one for one in every if not one.startswith(("manylinux", "musllinux")))


def trouble(source: Path, library: Path) -> str:
    """Compile; "", or why that was not possible."""
    library.unlink(missing_ok=True)  # what is there may be of another source
    if os.name != "posix":
        return "only POSIX systems are supported"
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(compiler[0]) is None:
        return f"there is no {compiler[0]}"
    library.parent.mkdir(exist_ok=True)
    passing = library.with_suffix(f".{os.getpid()}.so")
    flags = [*FLAGS, *shlex.split(os.environ.get("ARCHFLAGS", ""))]
    command = [*compiler, *flags, "-o", str(passing), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"{shlex.join(command)} failed: {done.stderr}"
    try:
        if "_PYTHON_HOST_PLATFORM" not in os.environ:
            ctypes.CDLL(str(passing))
    except OSError as error:
        passing.unlink()
        return f"what {shlex.join(command)} made cannot be loaded: {error}"
    passing.replace(library)
    return ""
