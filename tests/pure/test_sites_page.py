"""What `docs/sites.md` says of keys, blocks and tests is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from hpclaunch.sites.fields import keys_at
from hpclaunch.sites.model import Site
from hpclaunch.templates import OFFERED
from tests.pure.sites import SLURM

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "sites.md").read_text(encoding="utf-8")
WAYS = TEXT.partition("## What real sites do")[2].partition("\n## ")[0]
ROWS = [line.split(" | ") for line in WAYS.splitlines() if line.startswith("| ")][1:]


def test_every_way_of_a_site_has_a_test_that_is_there():
    assert len(ROWS) > 18
    for way, _, test in ROWS:
        file, _, name = re.fullmatch(r"`(.*)` \|", test)[1].partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(), way


def test_every_way_of_a_site_names_keys_that_are_there_or_says_that_it_needs_none():
    for way, keys, _ in ROWS:
        named = [key for key in re.findall(r"`([a-z_.]+)`", keys) if "." in key or key in SLURM]
        assert named or keys.startswith(("none:", "`account`", "`values`")), way
        for key in named:
            table, last = key.split(".")[:-1], key.split(".")[-1]
            inner = {"queues": ["queues", "0"], "environments": ["environments", "x"]}
            place = inner.get(table[0], table) if len(table) == 1 else table
            assert last in keys_at(place), key


def test_the_environments_of_the_page_are_a_valid_profile():
    blocks = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    tables = [block for block in blocks if "[environments." in block and "[frontier" not in block]
    found = [tomllib.loads(block)["environments"] for block in tables]
    assert len(found) > 2
    for environments in found:
        Site.model_validate({**SLURM, "environments": environments})


def test_every_block_that_is_offered_is_on_the_page():
    rows = TEXT.partition("| block |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", rows, re.MULTILINE) == list(OFFERED)
