"""The reference of profiles in the documentation is the one that the model gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from hpclaunch.sites.fields import keys_at
from hpclaunch.sites.model import Site
from hpclaunch.sites.schema import profile_schema
from tests.support.profile_page import PAGE, page, tables

pytestmark = pytest.mark.pure


def test_the_page_in_the_documentation_is_the_one_that_the_model_gives() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.support.profile_page`"


def every_table() -> Iterator[type[BaseModel]]:
    """All tables that the model can hold, each once."""
    waiting: list[type[BaseModel]] = [Site]
    seen: list[type[BaseModel]] = []
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.append(one)
        yield one
        for field in one.model_fields.values():
            waiting += _tables_in(field.annotation)


def _tables_in(kind: object) -> list[type[BaseModel]]:
    import typing

    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [table for part in typing.get_args(kind) for table in _tables_in(part)]


def test_every_table_and_every_key_is_on_the_page() -> None:
    found = dict(tables(profile_schema()))
    keys = [set(table["properties"]) for table in found.values()]
    kinds = list(every_table())
    assert len(kinds) == len(found) > 12
    for kind in kinds:
        assert set(kind.model_fields) in keys, kind
    assert set(keys_at(("environments", "x", "conda"))) == set(
        found["`[environments.NAME.conda]`"]["properties"]
    )


def test_a_default_is_what_a_profile_would_write() -> None:
    """Whoever copies it from the schema has a valid profile."""
    found = {"name": "x", "scheduler": {"kind": "local"}}
    document = profile_schema()
    for key, entry in document["properties"].items():
        if entry.get("default") is not None:
            found[key] = entry["default"]
    assert found["session"]["walltime"] == "04:00:00"
    site = Site.model_validate(found)
    assert site == Site.model_validate({"name": "x", "scheduler": {"kind": "local"}})
