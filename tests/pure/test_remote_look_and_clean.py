"""look.sh, clean.sh and tail.sh: they see what is there, and touch nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpclaunch.node.layout import Layout
from hpclaunch.remote import remote_command
from tests.pure.hostile import arguments, names
from tests.pure.remote import run, submit, tree


def look(shell: str, base: str, home: str, key: str = "k") -> dict[str, str]:
    said = run(shell, "look.sh", base, key, HOME=home)
    assert (said.returncode, said.stderr) == (0, b"")
    return dict(line.split("=", 1) for line in said.stdout.decode().split("\n")[:-1])


@pytest.mark.parametrize(
    ("base", "there"),
    [
        ("~/.hpclaunch", "/home/al ice/.hpclaunch"),
        ("~/a~/~b", "/home/al ice/a~/~b"),
        ("/scratch/$USER/x", "/scratch/$USER/x"),
        ("/~/x", "/~/x"),
    ],
)
def test_look_tells_where_things_lie(shell, base, there):
    facts = look(shell, base, "/home/al ice")
    assert facts["base"] == there
    assert facts["home"] == "/home/al ice"
    assert facts["lib"] == "no"
    assert set(facts) == {"base", "home", "user", "host", "time", "lib"}
    assert abs(int(facts["time"]) - time.time()) < 60


@settings(max_examples=50)
@given(name=arguments.filter(lambda text: ":" not in text and "\n" not in text))
@example(name="$(touch pwned)")
@example(name="\\n")
def test_look_repeats_any_path_and_changes_nothing(tmp_path_factory, shell, name):
    top = tmp_path_factory.mktemp("top")
    assert look(shell, f"{top}/{name}", "/h")["base"] == f"{top}/{name}"
    assert look(shell, f"~/{name}", str(top))["base"] == f"{top}/{name}"
    assert list(top.iterdir()) == []


@pytest.mark.parametrize("base", ["", "x", "~bob/x", "$HOME/x", "-n", "./x", "/a:b"])
def test_look_refuses_what_is_no_absolute_path(shell, base):
    said = run(shell, "look.sh", base, "k")
    assert (said.returncode, said.stdout) == (2, b"")
    assert b"paths.base must" in said.stderr


# clean.sh


@pytest.fixture
def base(tmp_path: Path, shell: str) -> Path:
    folder = tmp_path / "b"
    for name in ("s-1", "s-2"):
        submit(shell, folder, name, "true")
    return folder


def test_clean_removes_one_session_and_no_other(shell, base):
    other = tree(base / "sessions" / "s-2")
    assert run(shell, "clean.sh", base, "s-1", "all").returncode == 0
    assert [path.name for path in (base / "sessions").iterdir()] == ["s-2"]
    assert tree(base / "sessions" / "s-2") == other


def test_clean_removes_what_is_secret_and_keeps_the_rest(shell, base):
    (base / "sessions/s-1/job.log").touch()
    said = run(shell, "clean.sh", base, "s-1", "secrets", *Layout.SECRETS)
    assert (said.returncode, said.stderr) == (0, b"")
    left = {path.name for path in (base / "sessions/s-1").iterdir()}
    assert left == {"job.sh", "job.log", "submitted", "workers"}


def test_every_secret_of_a_session_is_on_the_list():
    secret = {
        *(Layout.TOKEN, Layout.CA, Layout.JUPYTER_CERT, Layout.JUPYTER_KEY, Layout.DASK_CERT),
        *(Layout.DASK_KEY, Layout.JUPYTER_CONFIG, Layout.DASK_SECRET, Layout.DASK_FILE),
    }
    assert {path.partition("/")[0] for path in secret} <= set(Layout.SECRETS)
    assert not any("/" in path for path in Layout.SECRETS)


@pytest.mark.parametrize("what", ["all", "secrets"])
def test_nothing_there_is_no_error(shell, tmp_path, base, what):
    for folder, name in ((tmp_path / "nowhere", "s-1"), (base, "s-3")):
        said = run(shell, "clean.sh", folder, name, what, "token")
        assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")


def test_clean_follows_no_link(shell, tmp_path, base):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "token").touch()
    sessions = base / "sessions"
    (sessions / "link").symlink_to(victim)
    for what in ("secrets", "all"):
        assert run(shell, "clean.sh", base, "link", what, "token").returncode == 0
        assert [path.name for path in victim.iterdir()] == ["token"]
    assert not (sessions / "link").is_symlink()
    (sessions / "s-1" / "dask").symlink_to(victim)
    (sessions / "s-1" / "tls" / "link").symlink_to(victim)
    assert run(shell, "clean.sh", base, "s-1", "secrets", "dask", "tls").returncode == 0
    assert [path.name for path in victim.iterdir()] == ["token"]
    assert not (sessions / "s-1" / "tls").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../lib", "s-1/tls", "/tmp"])
def test_clean_leaves_its_base_by_no_name(shell, tmp_path, base, name):
    (base / "lib").mkdir()
    before = tree(tmp_path)
    for arguments_ in ((name, "all"), (name, "secrets", "x"), ("s-1", "secrets", "token", name)):
        said = run(shell, "clean.sh", base, *arguments_)
        assert (said.returncode, said.stdout) == (2, b"")
        assert b"not a name to remove" in said.stderr
    assert tree(tmp_path) == before


@settings(max_examples=50)
@given(name=names, secret=names)
@example(name="-rf", secret="*")
@example(name="*", secret="--")
def test_clean_takes_any_name_for_what_it_is(tmp_path_factory, shell, name, secret):
    base = tmp_path_factory.mktemp("base")
    session = base / "sessions" / name
    for folder in (session / secret, session / f"{secret}x", base / "sessions" / f"{name}x"):
        folder.mkdir(parents=True)
    assert run(shell, "clean.sh", base, name, "secrets", secret).returncode == 0
    assert [path.name for path in session.iterdir()] == [f"{secret}x"]
    assert run(shell, "clean.sh", base, name, "all").returncode == 0
    assert [path.name for path in (base / "sessions").iterdir()] == [f"{name}x"]


def test_the_users_cdpath_leads_clean_nowhere(shell, tmp_path, base):
    trap = tmp_path / "trap" / "s-1" / "token"
    trap.mkdir(parents=True)
    cdpath = {"CDPATH": str(tmp_path / "trap")}
    assert run(shell, "clean.sh", base, "s-1", "secrets", "token", **cdpath).returncode == 0
    assert trap.is_dir()
    assert not (base / "sessions/s-1/token").exists()


# tail.sh

LOG = b"one\ntwo\nthree\xff\nno newline"


@pytest.mark.parametrize(
    ("how", "number", "end"),
    [
        ("lines", 1, b"no newline"),
        ("lines", 2, b"three\xff\nno newline"),
        ("lines", 99, LOG),
        ("from", 0, LOG),
        ("from", 4, LOG[4:]),
        ("from", len(LOG), b""),
        ("from", 9999, b""),
    ],
)
def test_tail_prints_the_end_of_a_log_behind_its_size(shell, tmp_path, how, number, end):
    (tmp_path / "-n $(touch pwned)").write_bytes(LOG)
    said = run(shell, "tail.sh", tmp_path / "-n $(touch pwned)", how, str(number))
    size = b"%d\n" % len(LOG)
    assert (said.returncode, said.stdout, said.stderr) == (0, size + end, b"")


def test_a_log_that_is_not_there_is_empty(shell, tmp_path):
    said = run(shell, "tail.sh", tmp_path / "no.log", "lines", "5")
    assert (said.returncode, said.stdout, said.stderr) == (0, b"0\n", b"")


def test_a_log_whose_directory_is_gone_is_none(shell, tmp_path):
    said = run(shell, "tail.sh", tmp_path / "gone" / "job.log", "lines", "5")
    assert (said.returncode, said.stdout) == (1, b"")
    assert said.stderr.endswith(b"gone: No such directory\n")


@given(words=st.lists(arguments, max_size=3))
def test_values_reach_a_remote_script_as_arguments_only(shell, words):
    argv = remote_command("look.sh", *words)
    assert argv[:2] == ["/bin/sh", "-c"]
    assert argv[2] == remote_command("look.sh")[2]
    assert argv[3:] == ["look.sh", *words]
