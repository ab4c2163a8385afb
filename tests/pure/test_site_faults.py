"""What is wrong in a profile is named: file, table, key, and the nearest valid one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch import paths
from hpclaunch.errors import ProfileError
from hpclaunch.sites.catalog import default_site, load
from hpclaunch.sites.fields import homes_of, keys_at, takes_text
from hpclaunch.sites.model import Site
from tests.pure.sites import SLURM, load_content, slurm_with, user_toml


def faults(folder, content: dict[str, Any] | str, *settings: str) -> list[str]:
    """What is told of a profile, line by line, without the name of its folder."""
    with pytest.raises(ProfileError) as caught:
        load_content(folder, content, *settings)
    assert caught.value.exit_code == 1
    told = caught.value.what.replace(f"{paths.config_dir()}/", "").replace(f"{folder}/", "")
    return [line.strip() for line in told.split("\n")]


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"acount": "x"}, "acount: unknown key; did you mean 'account'?"),
        ({"idle_limit": "1:00:00"}, "idle_limit: unknown key; [session] has a key of this name"),
        ({"cores": 1}, "cores: unknown key; [session] and [dask] have a key of this name"),
        ({"dask": {"worker": 2}}, "[dask] worker: unknown key; did you mean 'workers'?"),
        ({"network": {"zzz": 1}},
         "[network] zzz: unknown key; known: checked_on, interface, source"),
        ({"queues": [{"name": "a"}, {"name": "b", "max_node": 1}]},
         "[[queues]] number 2: max_node: unknown key; did you mean 'max_nodes'?"),
        ({"environments": {"x": {"modul": []}}},
         "[environments.x] modul: unknown key; did you mean 'modules'?"),
        ({"environments": {"python": {"setp": []}}},
         "[environments.python] setp: unknown key; did you mean 'setup'?"),
        ({"environments": {"python": "x"}}, "[environments] python: must be a table (it is 'x')"),
        ({"environments": {"a b": {}}},
         "[environments] a b: must be 1 to 32 letters, digits, '.', '_' and '-', "
         "no mark first (it is 'a b')"),
        ({"dask": 4}, "dask: must be a table (it is 4)"),
        ({"queues": {"name": "a"}}, "queues: must be a list"),
        ({"queues": ["a"]}, "queues number 1: must be a table (it is 'a')"),
        ({"dask": {"cores": "4"}}, "[dask] cores: must be a whole number (it is '4')"),
        ({"dask": {"cores": True}}, "[dask] cores: must be a whole number (it is True)"),
        ({"dask": {"cores": 1.5}}, "[dask] cores: must be a whole number (it is 1.5)"),
        ({"dask": {"cores": 0}}, "[dask] cores: must be greater than 0 (it is 0)"),
        ({"dask": {"workers": -1}},
         "[dask] workers: must be greater than or equal to 0 (it is -1)"),
        ({"dask": {"memory": 4}},
         "[dask] memory: must be text in quotes with a unit, such as '4 GB' (it is 4)"),
        ({"dask": {"memory": "4"}},
         "[dask] memory: '4' is not an amount of memory; write for example '4 GB'"),
        ({"session": {"walltime": "10:30"}},
         "[session] walltime: '10:30' is not a walltime; write HH:MM:SS, "
         "D-HH:MM:SS or 2h30m"),
        ({"session": {"walltime": 90}},
         "[session] walltime: must be text in quotes, such as '2:30:00' or '90m' (it is 90)"),
        ({"account": 7}, "account: must be text in quotes (it is 7)"),
        ({"account": ""}, "account: must not be empty (it is '')"),
        ({"account": "a\nb"},
         "account: must be one line without control characters (it is 'a\\nb')"),
        ({"scheduler": {"kind": "slurn"}},
         "[scheduler] kind: must be 'slurm', 'pbs', 'lsf' or 'local' (it is 'slurn')"),
        ({"scheduler": {"kind": "slurm", "pbs": {}}},
         "[scheduler] pbs: says how pbs is asked, and kind is 'slurm'"),
        ({"scheduler": {"kind": "pbs", "lsf": {"memory_unit": "GB"}}},
         "[scheduler] lsf: says how lsf is asked, and kind is 'pbs'"),
        ({"scheduler": {"kind": "lsf", "options": ["-m c5"]}},
         "[scheduler] options: no option is common to all commands of lsf"),
        ({"scheduler": {"kind": "pbs"}, "queues": [{"name": "a", "memory_as": "core"}]},
         "[[queues]] number 1: memory_as: must be 'node', 'whole' or 'none' for pbs"),
        ({"scheduler": {"kind": "lsf"}, "queues": [{"name": "a", "qos": "high"}]},
         "[[queues]] number 1: qos: lsf has none"),
        ({"scheduler": {"kind": "pbs", "pbs": {"dialect": "torque", "place": "pack"}}},
         "[scheduler.pbs] place: Torque has none"),
        ({"scheduler": {"kind": "lsf", "lsf": {"memory_unit": "GiB"}}},
         "[scheduler.lsf] memory_unit: must be 'KB', 'MB', 'GB' or 'TB' (it is 'GiB')"),
        ({"scheduler": {}}, "[scheduler] kind: missing"),
        ({"scheduler": {"kind": "slurm", "account_required": "yes"}},
         "[scheduler] account_required: must be true or false (it is 'yes')"),
        ({"scheduler": {"kind": "slurm", "directives": "-C cpu"}},
         "[scheduler] directives: must be a list, such as [\"-C cpu\"] (it is '-C cpu')"),
        ({"scheduler": {"kind": "slurm", "directives": ["a", 2]}},
         "[scheduler] directives number 2: must be text in quotes (it is 2)"),
        ({"login": {}}, "[login] host: missing: the login node to reach"),
        ({"login": {"host": "h", "port": 70000}},
         "[login] port: must be less than 65536 (it is 70000)"),
        ({"login": {"host": "h", "transport": "ssh"}},
         "[login] transport: must be 'auto', 'openssh', 'paramiko' or 'local' (it is 'ssh')"),
        ({"scheduler": {"kind": "local"}, "login": {"transport": "openssh"}},
         "[login] transport: must be 'local': scheduler 'local' runs here, no ssh"),
        ({"queues": [{"name": "a"}, {"name": "a"}]},
         "[[queues]] number 2: name: 'a' is described twice"),
        ({"queues": [{"max_nodes": 1}]}, "[[queues]] number 1: name: missing"),
        ({"paths": {"base": "scratch"}},
         "[paths] base: must be an absolute path, or begin with ~/ for the home on the "
         "site (it is 'scratch')"),
        ({"paths": {"base": "/a:b"}},
         "[paths] base: must not hold a colon: PYTHONPATH would be cut there (it is '/a:b')"),
        ({"paths": {"base": "~/"}},
         "[paths] base: must be a directory of its own: it will be closed to others "
         "(it is '~/')"),
        ({"environments": {"default": {"python": "bin/python"}}},
         "[environments.default] python: must be an absolute path, or begin with ~/ for "
         "the home on the site (it is 'bin/python')"),
        ({"environments": {"default": {"python": "-c"}}},
         "[environments.default] python: must not begin with a dash (it is '-c')"),
        ({"name": "x" * 33},
         "name: must be 1 to 32 letters, digits, '.', '_' and '-', no mark first "
         f"(it is '{'x' * 33}')"),
        ({"checked_on": "yesterday"}, None),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_file_table_and_key(tmp_path, tables, line):
    found = faults(tmp_path, slurm_with(**tables))
    if line is None:
        assert found[0].startswith("big.toml: checked_on: must be a valid date")
    else:
        assert found == [f"big.toml: {line}"]


def test_a_time_of_day_is_told_from_a_walltime(tmp_path):
    """TOML's trap: 12:00:00 without quotes is a time of day."""
    text = 'name="big"\nlogin.host="h"\nscheduler.kind="slurm"\nsession.walltime=12:00:00\n'
    (line,) = faults(tmp_path, text)
    assert line.startswith(
        "big.toml: [session] walltime: must stand in quotes: without them it is a time of day"
    )


def test_all_faults_are_told_at_once(tmp_path):
    found = faults(tmp_path, slurm_with(dask={"cors": 1, "workers": -1}, x=1))
    assert len(found) == 3


def test_a_missing_table_is_named(tmp_path):
    assert faults(tmp_path, {"name": "big"}) == ["big.toml: scheduler: missing"]


@pytest.mark.parametrize(
    ("mine", "line"),
    [
        ({"acount": "x"}, "[big] acount: unknown key; did you mean 'account'?"),
        ({"usr": "x"}, "[big] usr: unknown key; did you mean 'user'?"),
        ({"enviroment": "x"}, "[big] enviroment: unknown key; did you mean 'environment'?"),
        ({"user": 7}, "[big] user: must be text in quotes (it is 7)"),
        ({"environment": "a b"},
         "[big] environment: must be 1 to 32 letters, digits, '.', '_' and '-', "
         "no mark first (it is 'a b')"),
        ({"login": {"hots": "x"}}, "[big.login] hots: unknown key; did you mean 'host'?"),
        ({"login": 5}, "[big] login: must be a table (it is 5)"),
        ({"login": 5, "user": "alice"}, "[big] login: must be a table"),
        ({"queues": [{"name": "a", "max_node": 1}]},
         "[[big.queues]] number 1: max_node: unknown key; did you mean 'max_nodes'?"),
        ({"queues": [{"max_nodes": 1}]}, "[[big.queues]] number 1: name: missing"),
        ({"environments": {"x": {"pyton": "y"}}},
         "[big.environments.x] pyton: unknown key; did you mean 'python'?"),
    ],
)  # fmt: skip
def test_a_fault_of_the_users_file_is_named_there(tmp_path, mine, line):
    user_toml({"big": mine})
    assert faults(tmp_path, SLURM) == [f"user.toml: {line}"]


def test_the_same_thing_said_in_two_ways_is_refused(tmp_path):
    user_toml({"big": {"user": "alice", "login": {"user": "bob"}}})
    assert faults(tmp_path, SLURM) == [
        "user.toml: [big] user and [big.login] user are the same thing"
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"big": 5}, "big: unknown key; it belongs into the table of a site"),
        ({"account": "x"}, "account: unknown key; it belongs into the table of a site"),
        ({"defaultsite": "x"}, "defaultsite: unknown key; did you mean 'default_site'?"),
        ({"default_site": 7}, "default_site: must be the name of a site, in quotes"),
        ({"default_site": {"a": 1}}, "default_site: must be the name of a site, in quotes"),
    ],
)
def test_what_belongs_to_no_site_is_told(tmp_path, content, line):
    file = user_toml(content)
    with pytest.raises(ProfileError) as caught:
        default_site()
    assert caught.value.what == f"{file}: {line}"
    assert faults(tmp_path, SLURM) == [f"user.toml: {line}"]


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("dask.workrs=3", "[dask] workrs: unknown key; did you mean 'workers'?"),
        ("dsk.workers=3", "dsk: unknown key; did you mean 'dask'?"),
        ("session.walltime=3", "[session] walltime: '3' is not a walltime; write HH:MM:SS, "
         "D-HH:MM:SS or 2h30m"),
        ("scheduler.directives=--x", "[scheduler] directives: must be a list, such as [\"--x\"] "
         "(it is '--x')"),
        ("login=5", "login: must be a table (it is 5)"),
        ("queues.a.max_nodes=1", "queues: must be a list"),
        ("environments.x.pythn=1", "[environments.x] pythn: unknown key; did you mean 'python'?"),
    ],
)  # fmt: skip
def test_a_fault_of_a_setting_is_named_there(tmp_path, setting, line):
    assert faults(tmp_path, SLURM, setting) == [f"--set {setting}: {line}"]


@pytest.mark.parametrize("text", ["name = ", "name = 'a'\nname = 'b'", "= 1", "[a", 'x = "\\q"'])
def test_broken_toml_names_the_file_and_the_line(tmp_path, text):
    (line,) = faults(tmp_path, text)
    assert line.startswith("big.toml: not valid TOML: ")
    assert "(at " in line
    file = user_toml(text)
    with pytest.raises(ProfileError, match="not valid TOML") as caught:
        load("local")
    assert str(file) in caught.value.what


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(ProfileError, match=r"latin\.toml: cannot be read"):
        load(str(tmp_path / "latin.toml"))
    folder = paths.config_dir() / "sites" / "folder.toml"
    folder.mkdir(parents=True)
    with pytest.raises(ProfileError, match=r"folder\.toml: cannot be read"):
        load("folder")


NEEDED = {("conda",): {"env": "x"}, ("pixi",): {"project": "/p"}, ("container",): {"image": "/i"}}
"""What these tables must have, so that the slip is the only fault."""


def every_table() -> list[tuple[str, ...]]:
    """Each table of a profile, entries of lists and tables of tables included."""
    tables = [(), *((name,) for name in Site.model_fields if keys_at((name,)))]
    kinds = [("environments", "default", kind) for kind in ("conda", "pixi", "container")]
    return [*tables, ("queues", "0"), ("environments", "default"), *kinds]


def test_every_kind_of_table_is_tried_below():
    assert ("login",) in every_table() and ("dask",) in every_table()
    assert len(every_table()) == 1 + 8 + 5


@pytest.mark.parametrize("table", every_table(), ids=".".join)
@given(data=st.data())
def test_a_key_with_a_slip_leads_to_the_right_one(tmp_path_factory, table, data):
    """One letter left out of any key of any table: the key is named again."""
    given = NEEDED.get(table[-1:], {})
    known = [key for key in keys_at(table) if len(key) > 4 and key not in given]
    key = data.draw(st.sampled_from(known))
    place = data.draw(st.integers(0, len(key) - 1))
    slip = key[:place] + key[place + 1 :]
    content = copy.deepcopy({**SLURM, "queues": [{"name": "a"}]})
    inner: Any = content
    for part in table:
        inner = inner[int(part)] if isinstance(inner, list) else inner.setdefault(part, {})
    inner.update(given)
    inner[slip] = 1
    if slip in keys_at(table) or homes_of(slip):
        return
    (line,) = faults(tmp_path_factory.mktemp("x"), content)
    assert f" {slip}: unknown key; did you mean {key!r}?" in line


def test_the_kinds_of_values_are_read_off_the_model():
    assert takes_text(("account",)) and takes_text(("dask", "memory"))
    assert takes_text(("environments", "any", "python")) and takes_text(("queues", "0", "name"))
    assert takes_text(("scheduler", "directives", "0"))
    assert not takes_text(("dask", "cores")) and not takes_text(("scheduler", "directives"))
    assert not takes_text(("no", "such", "key")) and not takes_text(())
    assert keys_at(("environments",)) == [] == keys_at(("account",))


def test_shipped_profiles_have_no_fault():
    folder = paths.shipped_dir("site_profiles")
    files = sorted(folder.glob("*.toml"))
    assert files
    for file in files:
        loaded = load(str(file))
        assert loaded.site.name == file.stem
        assert loaded.site.source and loaded.site.checked_on
