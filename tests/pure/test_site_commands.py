"""`hpclaunch site list`, `show` and `schema`, as typed."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from hpclaunch import paths
from hpclaunch.cli import main
from hpclaunch.cli.sites import _toml
from hpclaunch.sites.catalog import LoadedSite, known_sites, load
from hpclaunch.sites.model import Site
from tests.pure.hostile import lines
from tests.pure.sites import SLURM, slurm_with, user_toml, write_toml

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "docker" / "slurm" / "site.toml"
PROFILES = [*sorted((ROOT / "site_profiles").glob("*.toml")), CONTAINERS]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]):
    """Run a command and return exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# list


def test_list_names_every_known_site(typed):
    write_toml(paths.config_dir() / "sites" / "big.toml", slurm_with(description="a big one"))
    code, out, err = typed("site", "list")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["NAME", "SCHEDULER", "CHECKED", "DESCRIPTION"]
    assert [row.split()[0] for row in rows] == list(known_sites())
    assert any(row.split() == ["big", "slurm", "-", "a", "big", "one"] for row in rows)


def test_list_as_json_has_the_keys_of_the_contract(typed):
    write_toml(
        paths.config_dir() / "sites" / "big.toml",
        slurm_with(source="the user guide", checked_on=date(2026, 2, 3)),
    )
    code, out, err = typed("site", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert rows["big"] == {
        "name": "big",
        "scheduler": "slurm",
        "source": "the user guide",
        "checked_on": "2026-02-03",
    }
    assert all(set(row) == set(rows["big"]) for row in rows.values())
    assert rows["local"]["scheduler"] == "local"


def test_one_broken_profile_hides_no_other(typed):
    write_toml(paths.config_dir() / "sites" / "broken.toml", "name = ")
    code, out, err = typed("site", "list", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == sorted(set(known_sites()) - {"broken"})
    assert err.startswith("error: ") and "broken.toml: not valid TOML" in err


def test_a_fault_in_the_users_file_is_told_once(typed):
    user_toml("default_site = ")
    code, out, err = typed("site", "list")
    assert (code, out) == (1, "")
    assert err.count("error:") == 1 and "user.toml" in err


# show


def test_show_prints_the_profile_with_the_users_values(typed):
    user_toml({"docker": {"account": "proj1", "user": "alice"}})
    code, out, err = typed("site", "show", str(CONTAINERS), "--set", "dask.workers=2")
    shown = tomllib.loads(out)
    assert (code, err) == (0, "")
    assert shown["account"] == "proj1"
    assert shown["login"]["user"] == "alice"
    assert shown["dask"]["workers"] == 2
    assert shown["checked_on"] == date(2026, 11, 23)
    assert shown["queues"][1]["max_walltime"] == "00:10:00"


def test_show_with_origin_says_where_each_value_comes_from(typed):
    user = user_toml({"docker": {"account": "proj1"}})
    code, out, _ = typed(
        "site", "show", str(CONTAINERS), "--origin", "--set", "session.walltime=90m"
    )
    lines_ = out.splitlines()
    assert code == 0
    assert f'account = "proj1"  # {user}' in lines_
    assert 'walltime = "01:30:00"  # --set session.walltime=90m' in lines_
    assert f'host = "hpclaunch-login"  # {CONTAINERS}' in lines_
    assert "connect_timeout = 20  # default" in lines_
    assert f'max_walltime = "00:10:00"  # {CONTAINERS}' in lines_
    values = [line for line in lines_ if " = " in line]
    assert values and all("  # " in line for line in values)


def test_show_without_a_name_shows_the_default_site(typed):
    assert 'name = "local"' in typed("site", "show")[1].splitlines()
    write_toml(paths.config_dir() / "sites" / "big.toml", SLURM)
    user_toml({"default_site": "big"})
    assert 'name = "big"' in typed("site", "show")[1].splitlines()


def test_show_of_a_faulty_site_prints_nothing_but_the_fault(typed):
    code, out, err = typed("site", "show", "local", "--set", "dask.workrs=1")
    assert (code, out) == (1, "")
    what, hint = err.splitlines()
    assert what == "error: --set dask.workrs=1: [dask] workrs: unknown key; did you mean 'workers'?"
    assert hint.startswith("hint: `hpclaunch site schema`")
    assert typed("site", "show", "local", "--set", "dask")[0] == 2


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("origin", [(), ("--origin",)])
def test_what_show_prints_loads_to_the_same_site(typed, tmp_path, file, origin):
    copy = tmp_path / f"{load(str(file)).site.name}.toml"
    copy.write_text(typed("site", "show", str(file), *origin)[1])
    assert load(str(copy)).site == load(str(file)).site


plain = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True)
positive = st.integers(1, 2**40)
texts = st.lists(lines, max_size=2)
times = positive.map(lambda seconds: f"{seconds}s")
memory = positive.map("{} B".format)


def table(**keys: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """A table with any of these keys."""
    return st.fixed_dictionaries({}, optional={"source": lines, "checked_on": st.dates(), **keys})


sites = st.fixed_dictionaries(
    {
        "name": plain,
        "login": table(user=lines, port=st.integers(1, 65535), prologue=texts).map(
            lambda login: {**login, "host": "h"}
        ),
        "scheduler": table(default_queue=lines, options=texts, directives=texts).map(
            lambda scheduler: {**scheduler, "kind": "slurm"}
        ),
    },
    optional={
        "description": lines,
        "account": lines,
        "queues": st.lists(
            st.builds(
                lambda name, rest: {**rest, "name": name},
                lines,
                table(max_walltime=times, max_nodes=positive, memory_per_node=memory),
            ),
            max_size=3,
            unique_by=lambda queue: queue["name"],
        ),
        "environments": st.dictionaries(
            plain, table(python=lines.map("/".__add__), modules=texts, setup=texts), max_size=3
        ),
        "paths": table(base=plain.map("~/".__add__), notebooks=lines.map("/".__add__)),
        "session": table(walltime=times, cores=positive, memory=memory, environment=plain),
        "dask": table(workers=positive, memory=memory, local_directory=lines),
        "network": table(interface=lines),
    },
)


@given(content=sites, origins=st.booleans(), file=st.text())
@example(content=slurm_with(environments={"a.b": {}, "c": {"setup": ['"""', "'''"]}}), origins=True,
         file="a\nb = 1")  # fmt: skip
def test_any_site_is_shown_as_toml_that_loads_to_the_same_site(content, origins, file):
    site = Site.model_validate(tomllib.loads(tomlkit.dumps(content)))
    places = {("name",): f"--set x={file}", ("login", "host"): file}
    shown = "\n".join(_toml(LoadedSite(site, Path(file), places), origins=origins))
    assert Site.model_validate(tomllib.loads(shown)) == site


@given(content=sites)
def test_a_session_on_record_keeps_its_site(content):
    """Records hold the site as JSON."""
    site = Site.model_validate(content)
    assert Site.model_validate(json.loads(json.dumps(site.model_dump(mode="json")))) == site


# schema


@pytest.fixture
def schema(typed):
    code, out, err = typed("site", "schema")
    assert (code, err) == (0, "")
    document = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(
        document, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def as_json(file: Path) -> object:
    """A profile as a JSON validator sees it."""
    return json.loads(json.dumps(tomllib.loads(file.read_text()), default=date.isoformat))


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.stem)
def test_the_schema_accepts_our_profiles(schema, file):
    assert [error.message for error in schema.iter_errors(as_json(file))] == []


@pytest.mark.parametrize(
    "tables",
    [
        {"acount": "x"},
        {"name": "a b"},
        {"name": "x" * 33},
        {"scheduler": {"kind": "slurn"}},
        {"scheduler": {}},
        {"dask": {"cores": "4"}},
        {"dask": {"cores": 0}},
        {"dask": {"memory": 4}},
        {"queues": [{"max_nodes": 1}]},
        {"queues": {}},
        {"environments": {"a b": {}}},
        {"environments": {"x": {"pythn": "y"}}},
        {"login": {"host": "h", "port": 70000}},
        {"checked_on": "yesterday"},
        {"account": ""},
    ],
)
def test_the_schema_refuses_what_we_refuse(schema, tables):
    assert schema.is_valid(slurm_with())
    assert not schema.is_valid(slurm_with(**tables))
    with pytest.raises(ValueError, match="validation error"):
        Site.model_validate(slurm_with(**tables))


SCHEMA = jsonschema.Draft202012Validator(Site.model_json_schema(mode="validation"))


@given(content=sites)
def test_the_schema_accepts_what_we_accept(content):
    SCHEMA.validate(json.loads(json.dumps(content, default=date.isoformat)))


def test_every_key_of_the_schema_is_documented(schema):
    document = schema.schema
    tables = {"profile": document, **document["$defs"]}
    silent = [
        f"{name}.{key}"
        for name, one in tables.items()
        for key, field in one["properties"].items()
        if not field.get("description")
    ]
    assert silent == []
    assert all(one["description"] for one in tables.values())
    assert all(one["additionalProperties"] is False for one in tables.values())
