"""`--storage-options FILE`: secrets reach the store, and nobody else sees them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from hpclaunch.cli import main
from hpclaunch.cli.data_secrets import read_options
from hpclaunch.errors import UsageError
from hpclaunch.storage import many, sidecar
from tests.storage.remote import S3Server
from tests.support.rangeserver import RangeServer

SECRET = {"key": "the-key", "secret": "the-very-secret"}
URL = "s3://archive/a.nc"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")).running() as server:
        path = tmp_path_factory.mktemp("file") / "a.nc"
        with netCDF4.Dataset(path, "w") as file:
            file.createDimension("x", 3)
            file.createVariable("v", "f4", ("x",))[:] = np.arange(3)
        server.put(path)
        yield server


def kept(path: Path, options: Any, mode: int = 0o600) -> Path:
    """A file with options."""
    path.write_text(options if isinstance(options, str) else json.dumps(options))
    path.chmod(mode)
    return path


# the file


@pytest.mark.pure
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o610])
def test_secrets_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = kept(tmp_path / "options.json", SECRET, mode)
    with pytest.raises(UsageError, match="others can read it") as told:
        read_options(str(path), [URL])
    assert told.value.hint.startswith(f"chmod 600 {path}")
    assert "the-very-secret" not in "\n".join(told.value.lines())
    path.chmod(0o400)
    assert read_options(str(path), [URL]) == SECRET


@pytest.mark.pure
@pytest.mark.parametrize(
    ("options", "open_to_all"),
    [
        ({"anon": True}, True),
        ({"anon": False, "client_kwargs": {"endpoint_url": "http://a:9000"}}, True),
        (
            {"config_kwargs": {"signature_version": "s3v4", "s3": {"addressing_style": "path"}}},
            True,
        ),
        ({"client_kwargs": {"aws_session_token": "x"}}, False),
        ({"token": "x"}, False),
        ({"headers": {"Authorization": "x"}}, False),
        ({"endpoint_url": "http://me:word@a:9000"}, False),
        ({"profile": ["a"]}, False),
    ],
)
def test_what_is_no_secret_may_be_seen(tmp_path: Path, options: Any, open_to_all: bool) -> None:
    path = kept(tmp_path / "options.json", options, 0o644)
    if open_to_all:
        assert read_options(str(path), [URL]) == options
    else:
        with pytest.raises(UsageError, match="others can read it"):
            read_options(str(path), [URL])


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"secret": "the-very-secret"', "no JSON (Expecting ',' delimiter, line 1, column 29)"),
        ("the-very-secret", "no JSON"),
        ('["the-very-secret"]', "it is no JSON object"),
        ("", "no JSON"),
        ('{"the-very-secret": "' + 2**20 * "x" + '"}', "more than 1 MiB"),
        (100_000 * "[", "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_not_shown(tmp_path: Path, text: str, said: str) -> None:
    path = kept(tmp_path / "options.json", text)
    with pytest.raises(UsageError) as told:
        read_options(str(path), [URL])
    shown = "\n".join(told.value.lines())
    assert said in shown and "the-very-secret" not in shown


@pytest.mark.pure
def test_no_text_no_file_and_no_url(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="this is no text"):
        read_options(str(raw), [URL])
    with pytest.raises(UsageError, match="No such file"):
        read_options(str(tmp_path / "none"), [URL])
    with pytest.raises(UsageError, match="Is a directory"):
        read_options(str(tmp_path), [URL])
    with pytest.raises(UsageError, match="all files are local"):
        read_options(str(raw), ["a.nc"])
    assert read_options(None, ["a.nc"]) is None


@pytest.mark.pure
def test_standard_input_and_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(SECRET)))
    assert read_options("-", [URL]) == SECRET
    out, into = os.pipe()
    writer = threading.Thread(target=lambda: os.fdopen(into, "w").write(json.dumps(SECRET)))
    writer.start()
    assert read_options(f"/dev/fd/{out}", [URL]) == SECRET  # as the shell's <(command)
    writer.join()
    os.close(out)


# the commands


def typed(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.local
@pytest.mark.patient
def test_inspect_with_and_without_the_secret(
    s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = kept(tmp_path / "right.json", s3.options)
    local = tmp_path / "b.nc"
    netCDF4.Dataset(local, "w").close()
    code, out, err = typed(capsys, "data", "inspect", URL, local, "--storage-options", right)
    assert (code, err) == (0, "") and "s3://archive/a.nc" in out and str(local) in out
    s3.check_keys(True)
    try:
        code, out, err = typed(capsys, "data", "inspect", URL, "--storage-options", right)
    finally:
        s3.check_keys(False)
    assert code == 1 and "the server refuses it" in err and "--storage-options FILE" in err
    assert "the-very-secret" not in out + err
    odd = kept(tmp_path / "odd.json", {**s3.options, "no_such_option": "the-very-secret"})
    code, out, err = typed(capsys, "data", "inspect", URL, "--storage-options", odd)
    assert code == 1 and "the-very-secret" not in out + err


@pytest.mark.local
@pytest.mark.patient
def test_a_password_of_a_web_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    with netCDF4.Dataset(folder / "a.nc", "w") as file:
        file.title = "a test"
    options = kept(tmp_path / "options.json", {"headers": {"Authorization": "Bearer sesame"}})
    with RangeServer(folder) as web:
        web.behaviour.password = "sesame"
        assert typed(capsys, "data", "inspect", web.url("a.nc"))[0] == 1
        words = ("data", "inspect", web.url("a.nc"), "--storage-options", options)
        assert typed(capsys, *words)[0] == 0


@pytest.mark.local
@pytest.mark.patient
def test_no_process_has_the_secret_in_its_words(
    s3: S3Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []

    def popen(argv: Any, **how: Any) -> Any:
        started.append((argv, how.get("env")))
        return real(argv, **how)

    sidecar.forget()
    real = subprocess.Popen
    monkeypatch.setattr(many.subprocess, "Popen", popen)
    options = kept(tmp_path / "options.json", s3.options)
    words = ("data", "index", URL, "--json", "--storage-options", options)
    code, out, _ = typed(capsys, *words)
    assert code == 0 and json.loads(out)["new"] == [URL]
    assert started and "the-very-secret" not in repr(started)


@pytest.mark.local
@pytest.mark.patient
def test_the_command_takes_options_from_its_standard_input(s3: S3Server) -> None:
    words = ["-m", "hpclaunch", "data", "index", URL, "--json", "--storage-options", "-"]
    done = subprocess.run(
        [sys.executable, *words], input=json.dumps(s3.options), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new"] == [URL]
