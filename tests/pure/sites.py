"""Profiles for tests: written as files, read as users' are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomlkit

from hpclaunch import paths
from hpclaunch.sites.catalog import LoadedSite, load

SLURM: dict[str, Any] = {
    "name": "big",
    "login": {"host": "login.big.example"},
    "scheduler": {"kind": "slurm"},
    "environments": {"default": {"python": "/opt/env/bin/python"}},
}


def write_toml(path: Path, content: dict[str, Any] | str) -> Path:
    """Write a TOML file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else tomlkit.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def user_toml(content: dict[str, Any] | str) -> Path:
    """Write the user's ``user.toml``."""
    return write_toml(paths.config_dir() / "user.toml", content)


def slurm_with(**tables: Any) -> dict[str, Any]:
    """A small SLURM profile, with further tables or other ones."""
    return {**SLURM, **tables}


def load_content(folder: Path, content: dict[str, Any] | str, *settings: str) -> LoadedSite:
    """Load a profile of this content."""
    return load(str(write_toml(folder / "big.toml", content)), settings)
