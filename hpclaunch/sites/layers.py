"""Lay values over values, and remember which layer gave each one.

A layer is a profile file, the user's table in ``user.toml`` or one ``--set``; the later ones win.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from hpclaunch import paths
from hpclaunch.errors import ProfileError, UsageError
from hpclaunch.sites.fields import takes_text

__all__ = ["SHORT", "Layer", "Layered", "Place", "profile_layer", "setting_layer", "user_layers"]

Place = tuple[str, ...]
"""Tables and key of a value; an entry of a list counts as a table named by its index."""

SHORT = {"user": ("login", "user"), "environment": ("session", "environment")}
"""Keys that ``user.toml`` may have right in the table of a site, and where their values belong."""

_LAPTOP_PATHS = (
    ("login", "identity"),
    ("login", "ssh_config"),
    ("templates", "session"),
    ("templates", "batch"),
)


@dataclass(frozen=True)
class Layer:
    """Where values come from.

    Attributes
    ----------
    name : str
        For people: a file, or the whole ``--set`` argument.
    values : mapping
    table : str
        Name of the file's table that holds `values`, empty where they are the whole file.
    short : bool
        Whether the values were written with the short keys of ``user.toml``.
    """

    name: str
    values: Mapping[str, Any]
    table: str = ""
    short: bool = False


@dataclass
class Layered:
    """Values from several layers, one over the other.

    Attributes
    ----------
    values : dict
    sources : dict
        The layer of each value that is no table, by its place.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[Place, Layer] = field(default_factory=dict)

    def lay_over(self, layer: Layer) -> None:
        """Tables are merged, everything else is replaced."""
        self._merge(self.values, layer.values, layer, ())

    def source_of(self, place: Place) -> Layer | None:
        """The layer to blame for what stands, or is missing, at a place."""
        while place:
            if place in self.sources:
                return self.sources[place]
            inside = [layer for known, layer in self.sources.items() if _begins(known, place)]
            if inside:
                return inside[-1]
            place = place[:-1]
        return None

    def holds(self, place: Place) -> bool:
        """Whether any layer gives a value at a place, or inside it."""
        return any(_begins(known, place) for known in self.sources)

    def _merge(
        self, values: dict[str, Any], over: Mapping[str, Any], layer: Layer, above: Place
    ) -> None:
        for key, value in over.items():
            here = (*above, key)
            if isinstance(value, dict) and isinstance(values.get(key, {}), dict):
                self._merge(values.setdefault(key, {}), value, layer, here)
                continue
            for old in [known for known in self.sources if _begins(known, here)]:
                del self.sources[old]
            values[key] = copy.deepcopy(value)
            self.sources.update((place, layer) for place in _leaves(value, here))


def profile_layer(path: Path, values: Mapping[str, Any]) -> Layer:
    """The layer of a profile file."""
    return Layer(str(path), values)


def user_layers(file: Path, site_name: str, mine: Any) -> list[Layer]:
    """The layers of the user's table for a site: its tables, then its short keys.

    Raises
    ------
    ProfileError
        If it is no table, or says the same thing in two ways.
    """
    if not isinstance(mine, dict):
        raise ProfileError(f"{file}: {site_name}: must be a table, as it names a site")
    long = copy.deepcopy(mine)
    short: dict[str, Any] = {}
    for word, (table, key) in SHORT.items():
        if word not in long or isinstance(long[word], dict):
            continue
        inner = long.get(table, {})
        if not isinstance(inner, dict):
            raise ProfileError(f"{file}: [{site_name}] {table}: must be a table")
        if key in inner:
            raise ProfileError(
                f"{file}: [{site_name}] {word} and [{site_name}.{table}] {key} are the same thing",
                hint="keep one of them",
            )
        short.setdefault(table, {})[key] = long.pop(word)
    layers = [Layer(str(file), long, site_name), Layer(str(file), short, site_name, short=True)]
    for layer in layers:
        _anchor(layer.values, file.parent)
    return layers


def setting_layer(setting: str) -> Layer:
    """The layer of one ``--set TABLE.KEY=VALUE``.

    VALUE is read as TOML. Where it is no TOML, or a number or time where the profile wants text,
    it is that text.

    Raises
    ------
    UsageError
        If it has not this form.
    """
    dotted, equals, text = setting.partition("=")
    try:
        if "\n" in dotted or dotted.lstrip().startswith("["):
            raise ValueError("TOML, but no key")
        nested = tomllib.loads(f"{dotted} = 0")
    except ValueError:
        nested = {}
    if not equals or not nested:
        raise UsageError(
            f"--set {setting}: expected TABLE.KEY=VALUE", hint="for example --set dask.cores=4"
        )
    place: Place = ()
    table: Any = nested
    while isinstance(table, dict):
        (key,) = table
        place, above, table = (*place, key), table, table[key]
    above[place[-1]] = _value(text, place)
    _anchor(nested, Path.cwd())
    return Layer(f"--set {setting}", nested)


def _value(text: str, place: Place) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = document["value"]
    if len(document) > 1 or isinstance(value, (date, datetime, time)):
        return text
    if isinstance(value, (bool, int, float)) and takes_text(place):
        return text
    return value


def _anchor(values: Mapping[str, Any], folder: Path) -> None:
    """Make relative paths of files on the laptop absolute: only a profile's own are near it."""
    for table, key in _LAPTOP_PATHS:
        inner = values.get(table)
        if isinstance(inner, dict) and isinstance(inner.get(key), str) and inner[key]:
            path = paths.expand(inner[key])
            inner[key] = str(path if path.is_absolute() else (folder / path).absolute())


def _leaves(value: Any, place: Place) -> Iterator[Place]:
    entries: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        entries = [(str(index), entry) for index, entry in enumerate(value)]
    if not entries:
        yield place
    for key, entry in entries:
        yield from _leaves(entry, (*place, key))


def _begins(place: Place, above: Place) -> bool:
    return place[: len(above)] == above
