"""`hpclaunch site export-dask`: what is printed, what is written, and what is refused."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.cli import main
from hpclaunch.export import DaskExport, as_yaml
from hpclaunch.node.daskconfig import Place, settings
from hpclaunch.node.spec import session_from
from hpclaunch.request import Request
from hpclaunch.script import agent_spec
from tests.pure.plans import plan_of
from tests.pure.sites import slurm_with, write_toml

PLACE = "/home/ann/dask-big"
DASK = {
    "cores": 2,
    "memory": "4 GB",
    "processes": 3,
    "queue": "long",
    "walltime": "2:00:00",
    "local_directory": "$TMPDIR/dask",
}
RICH: dict[str, Any] = {
    "account": "P1",
    "scheduler": {
        "kind": "slurm",
        "directives": ["--constraint=cpu"],
        "options": ["--clusters=c5"],
    },
    "environments": {
        "default": {"python": "~/my env/bin/python", "modules": ["python/3.11"], "setup": ["a=1"]},
        "other": {"python": "/opt/other/bin/python"},
    },
    "network": {"interface": "ib0"},
    "dask": DASK,
}

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Run ``site export-dask`` and return exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(("site", "export-dask", *arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def profile(tmp_path: Path) -> str:
    return str(write_toml(tmp_path / "big.toml", slurm_with(**RICH)))


def exported(**tables: Any) -> dict[str, Any]:
    """The configuration of a site with these tables."""
    found: dict[str, Any] = yaml.safe_load(export_of(**{**RICH, **tables}).text())
    return found


def export_of(profile: str = "big.toml", interface: str | None = None, **tables: Any) -> DaskExport:
    return DaskExport(plan_of(Request(workers=1), **tables), profile, PLACE, interface)


def test_a_cluster_without_arguments_is_what_the_profile_says() -> None:
    assert exported()["jobqueue"]["slurm"] == {
        "python": "\"$HOME\"/'my env/bin/python'",
        "job-script-prologue": [
            "command -v module >/dev/null || . /etc/profile",
            "module load python/3.11",
            "a=1",
            f"export DASK_CONFIG={PLACE}/dask",
            'mkdir -p "${TMPDIR:?}"/dask && '
            'scratch=$(mktemp -d "${TMPDIR:?}"/dask/hpclaunch-XXXXXXXX) || exit',
            "trap 'rm -rf \"$scratch\"' EXIT",
            'export DASK_TEMPORARY_DIRECTORY="$scratch"',
        ],
        "worker-extra-args": ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        "scheduler-options": {"dashboard_address": "127.0.0.1:0"},
        "log-directory": f"{PLACE}/workers",
        "interface": "ib0",
        "cores": 6,
        "memory": "12000000000 B",
        "processes": 3,
        "queue": "long",
        "account": "P1",
        "walltime": "02:00:00",
        "job-extra-directives": ["--no-requeue", "--clusters=c5", "--constraint=cpu"],
    }  # fmt: skip


def test_a_job_is_the_same_as_that_of_a_cluster_made_in_a_session() -> None:
    plan = plan_of(Request(workers=1), **RICH)
    session = session_from(PLACE, agent_spec(plan))
    place = Place("10.1.2.3", "/env/bin/python", "/lib", "/tmp/x")
    ours = settings(session, place)
    mine = exported()
    assert mine["distributed"]["comm"] == ours["distributed"]["comm"]
    of_place = {"python", "job-script-prologue", "scheduler-options", "interface", "name"}
    for found in (ours, mine):
        for key in of_place & set(found["jobqueue"]["slurm"]):
            del found["jobqueue"]["slurm"][key]
    assert mine["jobqueue"] == ours["jobqueue"] and mine["jobqueue"]["slurm"]["cores"] == 6


def test_every_connection_is_tls_and_needs_the_key() -> None:
    pair = {"key": f"{PLACE}/tls/dask.key", "cert": f"{PLACE}/tls/dask.pem"}
    assert exported()["distributed"]["comm"] == {
        "default-scheme": "tls",
        "require-encryption": True,
        "tls": {
            "ca-file": f"{PLACE}/tls/ca.pem",
            "scheduler": pair,
            "worker": pair,
            "client": pair,
        },
    }


def test_nothing_of_it_needs_hpclaunch_on_the_site() -> None:
    text = export_of(**RICH).text()
    assert "hpclaunch." not in re.sub("hpclaunch.yaml", "", text)
    assert "PYTHONPATH" not in text


def test_nobody_elses_scratch_directory_is_used() -> None:
    """Dask's own, below /tmp, would be on ``sys.path``, whoever has made it."""
    assert exported()["temporary-directory"] == f"{PLACE}/scratch"


def test_what_a_person_must_know_stands_in_the_file(typed: Typed, profile: str) -> None:
    code, out, err = typed(profile)
    comments = "\n".join(line for line in out.splitlines() if line.startswith("#"))
    assert code == 0 and profile in comments
    for words in ("no login", "The scheduler listens on ib0", "--clusters=c5"):
        assert words in comments
    assert "nothing is written" in err and "/home/USER/dask-big stands for" in err
    plain = export_of(dask=DASK).text()
    assert "ib0" not in plain and "cancels" not in plain
    assert "The scheduler listens where Dask thinks best" in plain


def test_the_scheduler_may_listen_elsewhere_than_workers() -> None:
    text = export_of(interface="eth1", **RICH).text()
    found = yaml.safe_load(text)["jobqueue"]["slurm"]
    assert (found["interface"], found["scheduler-options"]["interface"]) == ("ib0", "eth1")
    assert "The scheduler listens" not in text


@given(name=st.text())
def test_no_name_of_a_file_breaks_the_comments(name: str) -> None:
    found = yaml.safe_load(export_of(name, dask=DASK).text())
    assert set(found) == {"distributed", "jobqueue", "logging", "temporary-directory"}


words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")))
values = st.one_of(words, st.integers(), st.booleans(), st.none(), st.lists(words))
keys = st.from_regex(r"[a-z]+(-[a-z]+)*", fullmatch=True).filter(
    lambda key: key not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
)


@hypothesis.settings(max_examples=40)
@given(
    st.dictionaries(
        keys, st.recursive(values, lambda inner: st.dictionaries(keys, inner), max_leaves=9)
    )
)
def test_yaml_is_read_back_as_what_was_written(tables: dict[str, Any]) -> None:
    assert (yaml.safe_load(as_yaml(tables)) or {}) == tables


def test_a_private_directory_that_is_whole(typed: Typed, profile: str, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        code, out, err = typed(profile, "--output", str(tmp_path / "out"), "--place", PLACE + "/")
    finally:
        os.umask(umask)
    assert (code, out) == (0, f"{tmp_path}/out\n")
    modes = {
        str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o777)
        for path in sorted((tmp_path / "out").rglob("*"))
    }
    assert modes == {
        "out/dask": "0o700",
        "out/dask/hangups.py": "0o600",
        "out/dask/hpclaunch.yaml": "0o600",
        "out/tls": "0o700",
        "out/tls/ca.pem": "0o600",
        "out/tls/dask.key": "0o600",
        "out/tls/dask.pem": "0o600",
    }
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    text = (tmp_path / "out/dask/hpclaunch.yaml").read_text()
    assert yaml.safe_load(text)["jobqueue"]["slurm"]["log-directory"] == f"{PLACE}/workers"
    assert "PRIVATE KEY" not in out + err + text


@pytest.mark.parametrize(("asked", "days"), [((), 365), (("--days", "7"), 7)])
def test_the_end_of_the_certificates_is_told(
    typed: Typed, profile: str, tmp_path: Path, asked: tuple[str, ...], days: int
) -> None:
    where = ("--output", str(tmp_path / "out"), "--place", PLACE)
    before = datetime.now(UTC).replace(microsecond=0)
    code, _, err = typed(profile, *where, *asked)
    assert code == 0
    ends = set()
    for name in ("ca.pem", "dask.pem"):
        pem = (tmp_path / "out/tls" / name).read_bytes()
        ends.add(x509.load_pem_x509_certificate(pem).not_valid_after_utc)
    (end,) = ends
    assert before <= end - timedelta(days=days) <= datetime.now(UTC)
    told = f"certificates end on {end:%Y-%m-%d}: export again"
    assert told in err
    assert told in (tmp_path / "out/dask/hpclaunch.yaml").read_text()


def test_the_next_steps_can_be_pasted(typed: Typed, tmp_path: Path) -> None:
    login = {"host": "login", "user": "ann", "port": 2222, "ssh_config": "my config"}
    profile = write_toml(tmp_path / "big.toml", slurm_with(login=login, dask=DASK))
    place, output = "/home/ann/it's here", tmp_path / "new files"
    code, _, err = typed(str(profile), "--output", str(output), "--place", place)
    assert code == 0
    step = {line.partition(":")[0].strip(): line.partition(": ")[2] for line in err.splitlines()}
    config = str(tmp_path / "my config")
    assert shlex.split(step["bring it to the site"]) == [
        *("scp", "-rp", "-F", config, "-P", "2222", str(output), f"ann@login:{place}")
    ]
    script = step["there, before Python"] + '\nprintf %s "$DASK_CONFIG"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == f"{place}/dask"


def test_what_is_there_is_not_overwritten(typed: Typed, profile: str, tmp_path: Path) -> None:
    where = ("--output", str(tmp_path / "out"), "--place", PLACE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    code, out, err = typed(profile, *where)
    assert (code, out) == (1, "")
    assert f"error: {tmp_path}/out is there already, and is not overwritten" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    code, _, err = typed(profile, "--output", str(tmp_path / "no/where"), "--place", PLACE)
    assert code == 1 and "cannot be made: No such file or directory" in err


def test_what_cannot_be_written_whole_is_not_there(
    typed: Typed, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("hpclaunch.paths.write_private", full)
    code, _, err = typed(profile, "--output", str(tmp_path / "out"), "--place", PLACE)
    assert code == 1 and "No space left on device" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--place", "~/dask"), 2, "--place ~/dask: must be the absolute path"),
        (("--place", "/"), 2, "--place /: must be the absolute path"),
        (("--place", "/a\nb"), 2, "must be the absolute path"),
        (("--place", ""), 2, "must be the absolute path"),
        (("--output", "out"), 2, "say where the directory will lie there: --place /home/USER"),
        (("--days", "0"), 2, "--days 0: must be between 1 and 3650"),
        (("--account", ""), 2, "account must not be empty"),
        (("--environment", "none"), 1, "has no environment 'none'"),
        (("--set", "dask.cores=200"), 1, "cores"),
        (("--set", "network.interface='i b'"), 1, "'i b' is no name of a network interface"),
        (("--scheduler-interface", "$(x)"), 1, "'$(x)' is no name of a network interface"),
    ],
)
def test_what_cannot_be_is_refused(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, code: int,
    words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    queues = [{"name": "long", "cores_per_node": 128}]
    write_toml(tmp_path / "big.toml", slurm_with(**RICH, queues=queues))
    found, out, err = typed("./big.toml", *arguments)
    assert (found, out) == (code, "")
    assert words in err and "\nhint: " in err
    assert [path.name for path in tmp_path.iterdir() if path.name == "out"] == []


def test_a_site_without_worker_memory_or_scheduler_is_refused(typed: Typed, tmp_path: Path) -> None:
    code, out, err = typed(str(write_toml(tmp_path / "big.toml", slurm_with())))
    assert (code, out) == (1, "") and "--set dask.memory='4 GB'" in err
    code, out, err = typed("local")
    assert (code, out) == (1, "") and "LocalCluster()" in err


def test_environment_and_account_of_the_command(typed: Typed, profile: str) -> None:
    code, out, _ = typed(profile, "--environment", "other", "--account", "P2")
    found = yaml.safe_load(out)["jobqueue"]["slurm"]
    assert (code, found["python"], found["account"]) == (0, "/opt/other/bin/python", "P2")
    assert found["job-script-prologue"][0].startswith("export DASK_CONFIG=")


@pytest.mark.parametrize(("kind", "cluster"), [("pbs", "PBSCluster"), ("lsf", "LSFCluster")])
def test_other_schedulers_have_a_class_of_dask_jobqueue_too(kind: str, cluster: str) -> None:
    plan = plan_of(scheduler={"kind": kind}, dask=DASK, account="P1")
    text = DaskExport(plan, "big.toml", PLACE).text()
    assert f"`{cluster}()` of dask-jobqueue" in text
    found = yaml.safe_load(text)["jobqueue"][kind]
    assert found["queue"] == "long"
    assert found["walltime"] == {"pbs": "02:00:00", "lsf": "120"}[kind]
