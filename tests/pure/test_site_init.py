"""`hpclaunch site init` without a connection: from a report to a profile that commands know."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from hpclaunch import paths
from hpclaunch.cli import main
from hpclaunch.sites.catalog import load
from tests.pure.surveys import CONTAINERS, report, slurm_answers


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]):
    """Run `site init` and return exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["site", "init", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def sites() -> Path:
    """Where the user's own profiles lie."""
    return paths.config_dir() / "sites"


def test_a_report_becomes_a_site_that_start_knows(typed, sites, capsys):
    code, out, err = typed("alice@login.example", "--offline", str(CONTAINERS))
    assert (code, out) == (0, "")
    assert f"written: {sites / 'hpclaunch.toml'}" in err
    assert err.endswith("next: hpclaunch start hpclaunch\n")
    site = load("hpclaunch").site
    assert (site.login.host, site.login.user) == ("login.example", "alice")
    assert main(["start", "hpclaunch", "--dry-run", "--workers", "1"]) == 0
    assert "#SBATCH --partition=compute" in capsys.readouterr().out


def test_a_report_comes_from_stdin_and_a_profile_goes_to_stdout(typed, sites, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(CONTAINERS.read_text()))
    code, out, err = typed("--offline", "-", "--output", "-")
    assert (code, err) == (0, "")
    assert 'host = "login"' in out and 'kind = "slurm"' in out
    assert not sites.exists()


def test_a_profile_that_is_there_is_kept_unless_force_is_given(typed, sites):
    arguments = ("h", "--offline", str(CONTAINERS), "--name", "mine")
    assert typed(*arguments)[0] == 0
    (sites / "mine.toml").write_text("# edited\n")
    code, _, err = typed(*arguments)
    assert code == 1
    assert "nothing was written" in err and "--force" in err
    assert (sites / "mine.toml").read_text() == "# edited\n"
    assert typed(*arguments, "--force")[0] == 0
    assert load("mine").site.name == "mine"


def test_a_profile_of_a_shipped_name_goes_before_it(typed, sites):
    code, _, err = typed("h", "--offline", str(CONTAINERS), "--name", "derecho")
    assert code == 0
    assert f"it goes before the profile of this name in {paths.shipped_dir('site_profiles')}" in err
    assert load("derecho").path == sites / "derecho.toml"
    assert "goes before" not in typed("h", "--offline", str(CONTAINERS), "--name", "x1")[2]


def test_another_place_is_named_in_the_next_command(typed, tmp_path):
    file = tmp_path / "my site.toml"
    code, _, err = typed("h", "--offline", str(CONTAINERS), "--output", str(file))
    assert code == 0
    assert err.endswith(f"next: hpclaunch start '{file}'\n")
    assert load(str(file)).site.name == "hpclaunch"
    code, _, err = typed("h", "--offline", str(CONTAINERS), "--output", str(tmp_path / "x"))
    assert (code, "ends with .toml" in err) == (2, True)
    lost = tmp_path / "no" / "x.toml"
    code, _, err = typed("h", "--offline", str(CONTAINERS), "--output", str(lost))
    assert (code, "cannot be written" in err) == (1, True)


def test_what_to_look_at_is_told_and_stands_in_the_file(typed, sites, tmp_path):
    file = tmp_path / "report.txt"
    file.write_text(report(slurm_answers("slurm-26.05")))
    code, _, err = typed("login.example", "--offline", str(file))
    assert code == 0
    assert "look at: no Python with JupyterLab was found" in err
    assert "# - no Python with JupyterLab was found" in (sites / "tb.toml").read_text()


def test_how_to_get_there_is_kept(typed, sites, tmp_path):
    config, key = tmp_path / "ssh_config", tmp_path / "key"
    for file in (config, key):
        file.write_text("")
    code, _, _ = typed(
        *("alias", "--offline", str(CONTAINERS), "--ssh-config", str(config)),
        *("--identity", str(key), "--port", "2222", "--transport", "paramiko"),
    )
    assert code == 0
    login = load("hpclaunch").site.login
    assert (login.ssh_config, login.identity) == (str(config), str(key))
    assert (login.port, login.transport, login.host) == (2222, "paramiko", "alias")


def test_the_script_is_printed_as_it_is_run(typed, tmp_path):
    code, out, _ = typed("--script")
    assert code == 0
    assert out == (paths.shipped_dir("templates") / "remote" / "survey.sh").read_text()
    assert subprocess.run(["sh", "-n"], input=out, text=True).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "which host?"),
        (("h", "--transport", "local"), 2, "give no host"),
        (("h", "--ssh-config", "/no/such"), 2, "there is no file"),
        (("h", "--offline", "/no/such"), 2, "cannot be read"),
        (("h", "--offline", str(CONTAINERS), "--name", "a b"), 2, "cannot hold"),
        (("h", "--offline", __file__), 1, "no report"),
        (("-x@h", "--offline", str(CONTAINERS)), 2, ""),
    ],
)
def test_what_is_wrong_is_said(arguments, code, words, capsys, sites):
    try:
        found = main(["site", "init", *arguments])
    except SystemExit as end:
        found = int(str(end.code))
    assert found == code
    assert words in capsys.readouterr().err
    assert not sites.exists()


def test_a_site_without_a_scheduler_gets_no_profile(typed, sites, tmp_path):
    file = tmp_path / "report.txt"
    file.write_text("hpclaunch-survey 1\n@ lsf.id: lsid\n! hello\n= 255\n@ end\n")
    code, _, err = typed("h", "--offline", str(file))
    assert code == 1
    assert "no scheduler was found" in err
    assert "`lsid` ended with 255: hello" in err
    assert not sites.exists()
