"""The commands that run on a login node: constant scripts, to which values are arguments.

The scripts lie below ``templates/remote``; values never become part of their text.
"""

from __future__ import annotations

import functools

from hpclaunch import paths

__all__ = ["remote_command"]


def remote_command(name: str, *arguments: str, shell: str = "/bin/sh") -> list[str]:
    """Argv that runs a constant script with `arguments`."""
    return [shell, "-c", _remote_script(name), name, *arguments]


@functools.cache
def _remote_script(name: str) -> str:
    return (paths.shipped_dir("templates") / "remote" / name).read_text(encoding="utf-8")
