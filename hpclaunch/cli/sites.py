"""`hpclaunch site list`, `show` and `schema`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from hpclaunch.cli.tell import table, tell
from hpclaunch.errors import ProfileError
from hpclaunch.shell import printable
from hpclaunch.sites.catalog import LoadedSite, default_site, known_sites, load

__all__ = ["list_all", "schema", "show"]


def list_all(arguments: argparse.Namespace) -> int:
    """The known sites; one that cannot be read is told of on stderr."""
    default_site()  # a fault in user.toml is told once, and not for every site
    sites = []
    for name in known_sites():
        try:
            sites.append(load(name).site)
        except ProfileError as error:
            tell("\n".join(error.lines()))
    if arguments.json:
        rows = [
            {
                "name": site.name,
                "scheduler": site.scheduler.kind,
                "source": site.source,
                "checked_on": site.checked_on.isoformat() if site.checked_on else None,
            }
            for site in sites
        ]
        print(json.dumps(rows))
        return 0
    lines = [
        (site.name, site.scheduler.kind, str(site.checked_on or "-"), site.description)
        for site in sites
    ]
    print(table(("NAME", "SCHEDULER", "CHECKED", "DESCRIPTION"), lines))
    return 0


def show(arguments: argparse.Namespace) -> int:
    """A site's profile with the user's values in it, as TOML that loads to the same site."""
    loaded = load(arguments.site or default_site(), arguments.settings)
    print("\n".join(_toml(loaded, origins=arguments.origin)))
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """The JSON schema of a profile."""
    from hpclaunch.sites.schema import profile_schema

    print(json.dumps(profile_schema(), indent=2))
    return 0


def _toml(loaded: LoadedSite, *, origins: bool) -> Iterator[str]:
    """The profile as TOML, top-level keys first; with `origins` a comment behind each value."""
    values = loaded.site.model_dump(exclude_none=True)
    yield from _keys(loaded, values, (), origins)
    yield from _tables(loaded, values, (), origins)


def _keys(
    loaded: LoadedSite, table_: dict[str, Any], above: tuple[str, ...], origins: bool
) -> Iterator[str]:
    import tomlkit

    for key, value in table_.items():
        if _is_table(value) or _is_tables(value):
            continue
        plain = list(value) if isinstance(value, tuple) else value
        line = f"{key} = {tomlkit.item(plain).as_string()}"
        yield f"{line}  # {printable(loaded.origin(*above, key))}" if origins else line


def _tables(
    loaded: LoadedSite,
    table_: dict[str, Any],
    above: tuple[str, ...],
    origins: bool,
    header: tuple[str, ...] = (),
) -> Iterator[str]:
    """The tables in a table; `header` is how that one is written, without the indices of lists."""
    for key, value in table_.items():
        here, name = (*above, key), (*header, key)
        if _is_tables(value):
            for index, entry in enumerate(value):
                yield from ("", f"[[{_dotted(name)}]]")
                place = (*here, str(index))
                yield from _keys(loaded, entry, place, origins)
                yield from _tables(loaded, entry, place, origins, name)
        elif _is_table(value):
            if any(not _is_table(inner) for inner in value.values()):
                yield from ("", f"[{_dotted(name)}]")
                yield from _keys(loaded, value, here, origins)
            yield from _tables(loaded, value, here, origins, name)


def _dotted(place: tuple[str, ...]) -> str:
    import tomlkit

    return ".".join(tomlkit.key(part).as_string() for part in place)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_tables(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(_is_table, value))
