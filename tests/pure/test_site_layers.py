"""A site's values come from its profile, the user's file and the command line, in this order."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch import paths
from hpclaunch.errors import ProfileError, UsageError
from hpclaunch.sites import catalog
from hpclaunch.sites.catalog import default_site, find, known_sites, load, resolve_near
from hpclaunch.sites.layers import Layer, Layered
from hpclaunch.units import Memory, Walltime
from tests.pure.sites import SLURM, load_content, slurm_with, user_toml, write_toml

USER = {
    "default_site": "big",
    "big": {
        "account": "proj1",
        "user": "alice",
        "environment": "mine",
        "environments": {"mine": {"python": "~/env/bin/python"}},
        "dask": {"workers": 3, "cores": 8},
    },
    "other": {"account": "proj9"},
}


def test_what_nobody_says_is_a_default(tmp_path):
    loaded = load_content(tmp_path, SLURM)
    assert loaded.site.session.walltime == Walltime(4 * 3600)
    assert loaded.origin("session", "walltime") == "default"


def test_later_layers_win_and_every_value_knows_its_origin(tmp_path):
    user = str(user_toml(USER))
    profile = slurm_with(dask={"workers": 1, "cores": 2, "memory": "4 GB"}, account="shared")
    loaded = load_content(tmp_path, profile, "dask.workers=7", "dask.workers=9")
    file = str(tmp_path / "big.toml")
    site = loaded.site
    assert (site.dask.workers, loaded.origin("dask", "workers")) == (9, "--set dask.workers=9")
    assert (site.dask.cores, loaded.origin("dask", "cores")) == (8, user)
    assert (site.dask.memory, loaded.origin("dask", "memory")) == (Memory(4 * 10**9), file)
    assert (site.account, loaded.origin("account")) == ("proj1", user)
    assert loaded.origin("login", "host") == file
    assert loaded.origin("login", "port") == "default"


def test_the_users_short_keys_reach_their_places(tmp_path):
    user = str(user_toml(USER))
    loaded = load_content(tmp_path, SLURM)
    assert (loaded.site.login.user, loaded.origin("login", "user")) == ("alice", user)
    assert loaded.site.session.environment == "mine"
    assert loaded.origin("session", "environment") == user
    assert set(loaded.site.environments) == {"default", "mine"}


def test_another_sites_values_are_none_of_ours(tmp_path):
    user_toml({"other": {"account": "proj9"}})
    assert load_content(tmp_path, SLURM).site.account is None


def test_the_users_table_goes_by_the_sites_name_and_not_by_the_files(tmp_path):
    user_toml({"big": {"account": "a"}, "site": {"account": "b"}})
    write_toml(tmp_path / "site.toml", SLURM)
    assert load(str(tmp_path / "site.toml")).site.account == "a"


def test_a_list_is_replaced_as_a_whole(tmp_path):
    profile = slurm_with(queues=[{"name": "a", "max_nodes": 1}, {"name": "b", "max_nodes": 2}])
    user = str(user_toml({"big": {"queues": [{"name": "c"}]}}))
    loaded = load_content(tmp_path, profile)
    assert [queue.name for queue in loaded.site.queues] == ["c"]
    assert loaded.origin("queues", "0", "name") == user
    assert loaded.origin("queues", "0", "max_nodes") == "default"
    assert loaded.origin("queues", "1", "name") == "default"


def test_an_entry_of_a_list_knows_its_origin(tmp_path):
    loaded = load_content(tmp_path, slurm_with(queues=[{"name": "a", "max_nodes": 1}]))
    assert loaded.origin("queues", "0", "max_nodes") == str(tmp_path / "big.toml")
    assert loaded.origin("queues", "0", "min_nodes") == "default"


def test_loading_changes_no_layer_of_the_next_load(tmp_path):
    user_toml(USER)
    first = load_content(tmp_path, SLURM, "environments.mine.python=/x")
    assert first.site.environments["mine"].python == "/x"
    assert load_content(tmp_path, SLURM).site.environments["mine"].python == "~/env/bin/python"


def test_laying_over_changes_neither_layer():
    lower = Layer("lower", {"a": 1, "list": [{"x": 1}], "table": {"k": 1}})
    upper = Layer("upper", {"a": {"b": 1}, "table": {"k": 2}})
    top = Layer("top", {"a": {"b": 2}})
    layered = Layered()
    for layer in (lower, upper, top):
        layered.lay_over(layer)
    assert layered.values == {"a": {"b": 2}, "list": [{"x": 1}], "table": {"k": 2}}
    assert lower.values == {"a": 1, "list": [{"x": 1}], "table": {"k": 1}}
    assert upper.values == {"a": {"b": 1}, "table": {"k": 2}}


# --set


@pytest.mark.parametrize(
    ("setting", "place", "value"),
    [
        ("dask.cores=4", "dask.cores", 4),
        ("account=proj", "account", "proj"),
        ("account=1234", "account", "1234"),
        ("account=true", "account", "true"),
        ("account='it is'", "account", "it is"),
        ("account=a=b", "account", "a=b"),
        ("account=x # y", "account", "x # y"),
        ("session.walltime=12:00:00", "session.walltime", Walltime(12 * 3600)),
        ("session.walltime=90m", "session.walltime", Walltime(5400)),
        ("dask.memory=4 GB", "dask.memory", Memory(4 * 10**9)),
        ("dask.memory='4 GB'", "dask.memory", Memory(4 * 10**9)),
        ("scheduler.account_required=true", "scheduler.account_required", True),
        (
            "scheduler.directives=['--constraint=cpu']",
            "scheduler.directives",
            ("--constraint=cpu",),
        ),
        ("checked_on=2026-01-02", "checked_on", date(2026, 1, 2)),
        ("login.transport=paramiko", "login.transport", "paramiko"),
        ("name=x", "name", "x"),
    ],
)
def test_a_setting_is_read_as_what_the_profile_wants(tmp_path, setting, place, value):
    loaded = load_content(tmp_path, SLURM, setting)
    found = loaded.site
    for part in place.split("."):
        found = getattr(found, part)
    assert found == value
    assert loaded.origin(*place.split(".")) == f"--set {setting}"


def test_a_setting_may_make_tables(tmp_path):
    loaded = load_content(
        tmp_path,
        SLURM,
        'environments."my.env".python=/x y',
        "environments.new.modules=['gcc']",
        "queues=[{name='a', max_nodes=2}]",
    )
    assert loaded.site.environments["my.env"].python == "/x y"
    assert loaded.site.environments["new"].modules == ("gcc",)
    assert loaded.site.queues[0].max_nodes == 2
    assert loaded.origin("environments", "my.env", "python") == (
        '--set environments."my.env".python=/x y'
    )


@pytest.mark.parametrize(
    "setting",
    ["", "dask.cores", "=4", ".cores=4", "dask.=4", "dask..cores=4", "da sk.cores=4", "[dask]=4",
     "[dask]\ncores=4", "dask.cores\n=4", "#=4", "[x] #=4"],
)  # fmt: skip
def test_what_is_no_setting_is_wrong_usage(tmp_path, setting):
    with pytest.raises(UsageError, match=r"expected TABLE\.KEY=VALUE"):
        load_content(tmp_path, SLURM, setting)


def test_a_setting_cannot_smuggle_in_a_second_key(tmp_path):
    with pytest.raises(ProfileError, match="one line without control characters"):
        load_content(tmp_path, SLURM, "account='a'\nname='b'")


@given(
    text=st.tuples(st.sampled_from("abtfin/~$=-19"), st.text()).map("".join).filter(str.isprintable)
)
def test_text_needs_no_quotes(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("site")
    assert load_content(folder, SLURM, f"account={text}").site.account == text


# Where profiles are found


def test_profiles_are_found_in_this_order(tmp_path, monkeypatch):
    first, second = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("HPCLAUNCH_SITE_PATH", f"{first}{os.pathsep}{os.pathsep}{second}")
    mine, shipped = paths.config_dir() / "sites", paths.shipped_dir("site_profiles")
    assert catalog.search_path() == [first, second, mine, Path("/etc/hpclaunch/sites"), shipped]
    for folder in (mine, second, first):
        write_toml(folder / "big.toml", SLURM)
        assert find("big") == folder / "big.toml"
        assert known_sites()["big"] == folder / "big.toml"


def test_a_users_profile_may_replace_a_shipped_one(tmp_path):
    mine = write_toml(paths.config_dir() / "sites" / "local.toml", slurm_with(name="local"))
    loaded = load("local")
    assert (loaded.path, loaded.site.scheduler.kind) == (mine, "slurm")


def test_folders_that_do_not_exist_are_no_error(monkeypatch):
    monkeypatch.setenv("HPCLAUNCH_SITE_PATH", "/no/such/folder")
    assert "local" in known_sites()


def test_a_site_may_be_a_path(tmp_path, monkeypatch):
    write_toml(tmp_path / "x" / "big.toml", SLURM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("x/big.toml", "./x/big.toml", "~/x/big.toml", str(tmp_path / "x/big.toml")):
        assert load(name).path == tmp_path / "x" / "big.toml"
    monkeypatch.chdir(tmp_path / "x")
    assert load("big.toml").path == tmp_path / "x" / "big.toml"


def test_the_nearest_site_is_named(tmp_path):
    write_toml(paths.config_dir() / "sites" / "perlmutter.toml", slurm_with(name="perlmutter"))
    with pytest.raises(ProfileError, match=r"no site 'perlmuter'; did you mean 'perlmutter'\?"):
        load("perlmuter")
    with pytest.raises(ProfileError, match=r"no site 'zzz'$") as caught:
        load("zzz")
    assert "site list" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["x/none.toml", "none.toml", "/none", "~nobody-here/x.toml"])
def test_a_path_that_leads_nowhere_is_told(name):
    with pytest.raises(Exception, match=name) as caught:
        load(name)
    assert type(caught.value).__module__ == "hpclaunch.errors"


def test_a_file_found_by_name_must_have_that_name(tmp_path):
    write_toml(paths.config_dir() / "sites" / "alias.toml", SLURM)
    with pytest.raises(ProfileError, match=r"alias\.toml: name: is 'big', .* found as 'alias'"):
        load("alias")


def test_the_default_site(tmp_path):
    assert default_site() == "local"
    user_toml(USER)
    assert default_site() == "big"


# Files named in a profile


@pytest.mark.parametrize("key", ["identity", "ssh_config"])
def test_a_file_beside_the_profile_is_found_beside_it(tmp_path, key):
    login = {"host": "h", key: "../keys/one"}
    loaded = load_content(tmp_path / "sites", slurm_with(login=login))
    assert getattr(loaded.site.login, key) == "../keys/one"
    assert resolve_near(loaded, getattr(loaded.site.login, key)) == tmp_path / "keys" / "one"


def test_a_file_named_by_the_user_is_beside_the_users_file(tmp_path):
    file = user_toml({"big": {"login": {"identity": "keys/mine"}}})
    loaded = load_content(tmp_path, SLURM)
    assert resolve_near(loaded, str(loaded.site.login.identity)) == file.parent / "keys" / "mine"


def test_a_file_of_a_setting_is_where_the_user_stands(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    loaded = load_content(tmp_path / "sites", SLURM, "login.identity=key")
    assert loaded.site.login.identity == str(tmp_path / "cwd" / "key")


def test_a_tilde_is_the_home_on_the_laptop(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = load_content(tmp_path, SLURM, "login.identity=~/.ssh/id")
    assert resolve_near(loaded, str(loaded.site.login.identity)) == tmp_path / ".ssh" / "id"
