"""Find a site profile, lay the user's values over it, and remember where each value came from.

The layers, the later ones winning: the profile file, the user's ``user.toml`` (the table named
like the site), ``--set table.key=VALUE``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpclaunch import paths
from hpclaunch.errors import ProfileError
from hpclaunch.sites.faults import explain, nearest
from hpclaunch.sites.layers import Layered, Place, profile_layer, setting_layer, user_layers
from hpclaunch.sites.model import Site

__all__ = ["LoadedSite", "default_site", "find", "known_sites", "load", "resolve_near"]


@dataclass(frozen=True)
class LoadedSite:
    """A site with the user's values laid over it.

    Attributes
    ----------
    site : Site
    path : Path
        The profile file.
    origins : dict
        Tables and key of each value (an entry of a list by its index) to the name of the layer
        that gave it: the profile file, ``user.toml`` or the ``--set`` argument.
    """

    site: Site
    path: Path
    origins: dict[Place, str] = field(default_factory=dict)

    def origin(self, *place: str) -> str:
        """Where a value comes from; ``default`` where no layer gives it."""
        return self.origins.get(place, "default")


def search_path() -> list[Path]:
    """Folders that are searched for ``NAME.toml``, first wins."""
    listed = os.environ.get("HPCLAUNCH_SITE_PATH", "")
    return [
        *(paths.expand(entry) for entry in listed.split(os.pathsep) if entry),
        paths.sites_dir(),
        Path("/etc/hpclaunch/sites"),
        paths.shipped_dir("site_profiles"),
    ]


def known_sites() -> dict[str, Path]:
    """Names of all profiles that can be found, with their files."""
    found: dict[str, Path] = {}
    for folder in search_path():
        for file in sorted(folder.glob("*.toml")):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """The profile file of a site, given its name or a path to a ``.toml``.

    Raises
    ------
    ProfileError
        If there is none; names the nearest known site.
    """
    if _is_path(name):
        path = paths.expand(name)
        if not path.is_file():
            raise ProfileError(
                f"there is no site profile {name}",
                hint="`hpclaunch site list` names the known sites",
            )
        return path.absolute()
    known = known_sites()
    if name in known:
        return known[name]
    near = nearest(name, list(known))
    raise ProfileError(
        f"there is no site {name!r}" + (f"; did you mean {near!r}?" if near else ""),
        hint="`hpclaunch site list` names the known sites; a path to a .toml file works too",
    )


def default_site() -> str:
    """The site of commands that name none: ``default_site`` of ``user.toml``, else ``local``."""
    return str(_user_toml()[0].get("default_site", "local"))


def load(name: str, settings: Sequence[str] = ()) -> LoadedSite:
    """Load a site by name or path, with the user's values and ``--set`` settings over it.

    Parameters
    ----------
    name : str
        A name, or a path to a ``.toml`` file.
    settings : sequence of str
        ``table.key=VALUE``; VALUE is read as TOML, or as text where it is none, or where the
        profile wants text.

    Raises
    ------
    ProfileError
        If a file cannot be read, or a key or value is wrong: names file, table and key, and the
        nearest valid key.
    UsageError
        If a setting has not the form ``table.key=VALUE``.
    """
    path = find(name)
    profile = _read_toml(path)
    site_name = str(profile.get("name", path.stem))
    if not _is_path(name) and site_name != name:
        raise ProfileError(
            f"{path}: name: is {site_name!r}, but the file is found as {name!r}",
            hint="give the file the name of the site, or the site the name of the file",
        )
    user, user_file = _user_toml()
    layered = Layered()
    layered.lay_over(profile_layer(path, profile))
    for layer in user_layers(user_file, site_name, user[site_name]) if site_name in user else ():
        layered.lay_over(layer)
    for setting in settings:
        layered.lay_over(setting_layer(setting))
    try:
        site = Site.model_validate(layered.values)
    except ValidationError as error:
        raise ProfileError("\n  ".join(explain(error, layered, str(path)))) from None
    origins = {place: layer.name for place, layer in layered.sources.items()}
    return LoadedSite(site, path, origins)


def resolve_near(loaded: LoadedSite, value: str) -> Path:
    """A laptop-side path of a profile, relative to the profile's own folder."""
    path = paths.expand(value)
    return path if path.is_absolute() else (loaded.path.parent / path).resolve()


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or os.sep in name or (os.altsep or os.sep) in name


def _user_toml() -> tuple[dict[str, Any], Path]:
    """The user's file, whole, and its path.

    Raises
    ------
    ProfileError
        If it cannot be read, or holds something that belongs to no site.
    """
    file = paths.config_dir() / "user.toml"
    content = _read_toml(file) if file.is_file() else {}
    for key, value in content.items():
        if key == "default_site":
            if not isinstance(value, str):
                raise ProfileError(f"{file}: default_site: must be the name of a site, in quotes")
        elif not isinstance(value, dict):
            near = nearest(key, ["default_site"])
            raise ProfileError(
                f"{file}: {key}: unknown key; "
                + (f"did you mean {near!r}?" if near else "it belongs into the table of a site"),
                hint="user.toml holds default_site, and a table for each site: [NAME]",
            )
    return content, file


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path}: not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from None
