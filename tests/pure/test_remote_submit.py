"""submit.sh and settle.sh: a session is submitted once, or never, and we know which."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpclaunch.node.layout import Layout
from hpclaunch.script import tar_of
from tests.pure.hostile import EVIL, arguments, names
from tests.pure.remote import FILES, command, run, submit, tree, wait_for

SAY = ("sh", "-c", 'cat; printf "%s\\n" "$@"; exit 0', "say")
"""A submit command that repeats the script it is given, and its own arguments."""


def test_the_job_is_submitted_from_its_directory(shell, tmp_path):
    said = submit(shell, tmp_path / "b", "s-1", "sh", "-c", "cat; pwd; echo 4711; echo !! >&2")
    where = tmp_path / "b" / "sessions" / "s-1"
    assert said.stdout.decode() == f"#!/bin/bash\necho job\n{where}\n4711\n"
    assert said.stderr == b"!!\n"
    assert said.returncode == 0


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002, 0o077])
def test_the_job_has_the_users_own_umask(shell, tmp_path, umask):
    done = subprocess.run(
        command(shell, "submit.sh", tmp_path, "s-1", "sh", "-c", "umask"),
        input=tar_of(FILES), capture_output=True, umask=umask,
    )  # fmt: skip
    assert int(done.stdout, 8) == umask
    assert (tmp_path / "sessions/s-1/submitted").stat().st_mode & 0o777 == 0o600


def test_what_is_made_is_closed_to_others(shell, tmp_path):
    submit(shell, tmp_path / "a" / "b", "s-1", *SAY)
    base = tmp_path / "a" / "b"
    assert base.stat().st_mode & 0o777 == 0o700
    modes = tree(base)
    assert set(modes) == {
        *("sessions", "sessions/s-1", "sessions/s-1/tls", "sessions/s-1/workers"),
        *(f"sessions/s-1/{name}" for name in (*FILES, "submitted", Layout.LOG)),
    }
    folders = {path for path in modes if (base / path).is_dir()}
    assert {modes[path] for path in folders} == {0o700}
    assert {mode for path, mode in modes.items() if path not in folders} == {0o600}


def test_a_base_that_was_open_is_closed(shell, tmp_path):
    (tmp_path / "b").mkdir(mode=0o755)
    submit(shell, tmp_path / "b", "s-1", *SAY)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700


@settings(max_examples=50)
@given(
    base=st.lists(names, min_size=1, max_size=2),
    name=names,
    words=st.lists(arguments, min_size=1, max_size=3),
)
@example(base=["-n", "$(touch pwned)"], name="-rf", words=list(EVIL))
@example(base=["~"], name="*", words=["x"])
def test_hostile_names_and_arguments_mean_nothing(tmp_path_factory, shell, base, name, words):
    top = tmp_path_factory.mktemp("top")
    folder = top.joinpath(*base)
    said = submit(shell, folder, name, *SAY, *words)
    expected = FILES["job.sh"].decode() + "".join(f"{word}\n" for word in words)
    assert said.stdout.decode().rstrip("\n") == expected.rstrip("\n")
    assert (said.returncode, said.stderr) == (0, b"")
    assert [path.name for path in (folder / "sessions").iterdir()] == [name]
    assert (folder / "sessions" / name / "token").read_bytes() == b"t"
    assert not list(top.rglob("pwned"))
    cleaned = run(shell, "clean.sh", folder, name, "all")
    assert (cleaned.returncode, cleaned.stderr) == (0, b"")
    assert list((folder / "sessions").iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/x", "../x", "x/"])
def test_a_name_that_leads_elsewhere_is_refused(shell, tmp_path, name):
    said = submit(shell, tmp_path / "b", name, *SAY)
    assert (said.returncode, said.stdout) == (75, b"")
    assert b"not the name of a session's directory" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_users_cdpath_leads_nowhere(shell, tmp_path):
    (tmp_path / "elsewhere" / "s-1").mkdir(parents=True)
    said = run(
        shell, "submit.sh", tmp_path / "b", "s-1", *SAY,
        stdin=tar_of(FILES), CDPATH=str(tmp_path / "elsewhere"),
    )  # fmt: skip
    assert said.returncode == 0
    assert list((tmp_path / "elsewhere" / "s-1").iterdir()) == []
    assert said.stdout.startswith(b"#!/bin/bash")


def test_a_name_that_is_taken_is_never_submitted_again(shell, tmp_path):
    submit(shell, tmp_path, "s-1", "sh", "-c", "echo 1")
    said = submit(shell, tmp_path, "s-1", "touch", str(tmp_path / "again"))
    assert (said.returncode, said.stdout) == (75, b"")
    assert not (tmp_path / "again").exists()
    assert (tmp_path / "sessions" / "s-1" / "submitted").read_text() == "0\n1\n"


@pytest.mark.parametrize("target", ["victim", "nowhere"])
def test_a_planted_link_is_not_followed(shell, tmp_path, target):
    (tmp_path / "victim").mkdir()
    sessions = tmp_path / "b" / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "s-1").symlink_to(tmp_path / target)
    said = submit(shell, tmp_path / "b", "s-1", "touch", str(tmp_path / "again"))
    assert said.returncode == 75
    assert {path.name for path in tmp_path.iterdir()} == {"b", "victim"}
    assert list((tmp_path / "victim").iterdir()) == []


def test_of_many_submits_of_one_name_one_submits(shell, tmp_path):
    counter = tmp_path / "count"
    once = ("sh", "-c", 'cat >/dev/null; echo x >>"$1"; sleep 0.1; echo 7', "sh", str(counter))
    many = [
        subprocess.Popen(
            command(shell, "submit.sh", tmp_path / "b", "s-1", *once),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for _ in range(8)
    ]  # fmt: skip
    threads = [threading.Thread(target=one.communicate, args=(tar_of(FILES),)) for one in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.returncode for one in many) == [0] + [75] * 7
    assert counter.read_text() == "x\n"
    assert (tmp_path / "b/sessions/s-1/submitted").read_text() == "0\n7\n"


@pytest.mark.parametrize("code", [1, 75, 255])
def test_a_refusal_keeps_its_code_and_words(shell, tmp_path, code):
    said = submit(shell, tmp_path, "s-1", "sh", "-c", f"echo no; echo why >&2; exit {code}")
    assert (said.returncode, said.stdout, said.stderr) == (code, b"no\n", b"why\n")
    assert (tmp_path / "sessions/s-1/submitted").read_text() == f"{code}\nno\n"


def test_what_the_scheduler_said_is_told_though_it_cannot_be_kept(shell, tmp_path):
    """As on a full disk: the job is in the queue, and must not be called refused."""
    said = submit(shell, tmp_path, "s-1", "sh", "-c", "mkdir .submitted; echo 4711")
    assert (said.returncode, said.stdout) == (0, b"4711\n")


@pytest.mark.parametrize("cut", [0, 100, 512, 600, 1024, 1500])
def test_a_session_that_arrives_cut_short_leaves_nothing(shell, tmp_path, cut):
    whole = tar_of({"a": b"x" * 400, **FILES})
    assert whole.index(b"job.sh") > 1000
    said = submit(shell, tmp_path, "s-1", "touch", str(tmp_path / "again"), stdin=whole[:cut])
    assert (said.returncode, said.stdout) == (75, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["sessions"]
    assert list((tmp_path / "sessions").iterdir()) == []


def test_a_base_that_cannot_be_made_is_told(shell, tmp_path):
    (tmp_path / "file").touch()
    said = submit(shell, tmp_path / "file" / "b", "s-1", *SAY)
    assert (said.returncode, said.stdout) == (75, b"")
    assert b"file" in said.stderr


# settle.sh


def settle(shell: str, base: Path, name: str, limit: int = 5) -> str:
    said = run(shell, "settle.sh", base, name, str(limit))
    assert (said.returncode, said.stderr) == (0, b"")
    return said.stdout.decode()


def test_a_submit_that_never_came_never_comes(shell, tmp_path):
    assert settle(shell, tmp_path, "s-1") == "never\n"
    said = submit(shell, tmp_path, "s-1", "touch", str(tmp_path / "again"))
    assert said.returncode == 75
    assert not (tmp_path / "again").exists()


def test_the_schedulers_answer_is_repeated(shell, tmp_path):
    submit(shell, tmp_path, "s-1", "sh", "-c", "echo chatter; echo 4711; exit 3")
    assert settle(shell, tmp_path, "s-1") == "submitted\n3\nchatter\n4711\n"


def test_the_end_of_a_submit_under_way_is_awaited(shell, tmp_path):
    process = subprocess.Popen(
        command(shell, "submit.sh", tmp_path, "s-1", "sh", "-c", "sleep 1; echo 4711"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(tar_of(FILES))
    process.stdin.close()
    wait_for((tmp_path / "sessions" / "s-1" / "job.sh").exists)
    assert settle(shell, tmp_path, "s-1") == "submitted\n0\n4711\n"
    assert process.wait() == 0


def test_a_submit_that_hangs_stays_open(shell, tmp_path):
    (tmp_path / "sessions" / "s-1").mkdir(parents=True)
    began = time.monotonic()
    assert settle(shell, tmp_path, "s-1", limit=1) == "open\n"
    assert time.monotonic() - began < 5


def test_a_submit_that_fails_to_fill_its_directory_never_comes(shell, tmp_path):
    process = subprocess.Popen(
        command(shell, "submit.sh", tmp_path, "s-1", "true"),
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for((tmp_path / "sessions" / "s-1").exists)
    answer: list[str] = []
    thread = threading.Thread(target=lambda: answer.append(settle(shell, tmp_path, "s-1", 20)))
    thread.start()
    assert process.stdin is not None
    process.stdin.close()
    thread.join()
    assert process.wait() == 75
    assert answer == ["never\n"]


def test_where_no_directory_can_be_made_settle_says_so(shell, tmp_path):
    (tmp_path / "sessions").mkdir()
    long = "x" * 300  # longer than any filesystem takes
    said = run(shell, "settle.sh", tmp_path, long, "1")
    assert (said.returncode, said.stdout) == (1, b"")
    assert said.stderr != b""


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_settle_refuses_a_name_that_leads_elsewhere(shell, tmp_path, name):
    said = run(shell, "settle.sh", tmp_path, name, "1")
    assert (said.returncode, said.stdout) == (2, b"")


def test_settle_and_submit_race_to_never_or_submitted(shell, tmp_path):
    """Whoever wins, both know the same."""
    verdicts = set()
    for turn in range(30):
        base, delay = tmp_path / str(turn), (turn % 10) * 0.0015
        base.mkdir()
        late, early = ("settle", "submit") if turn % 2 else ("submit", "settle")
        words = {
            "submit": command(
                shell, "submit.sh", base, "s", "sh", "-c", f"echo x >>{base}/ran; echo 7"
            ),
            "settle": command(shell, "settle.sh", base, "s", "10"),
        }
        processes = {}
        for who in (early, late):
            processes[who] = subprocess.Popen(
                words[who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            time.sleep(delay)
        processes["submit"].communicate(tar_of(FILES))
        verdict = processes["settle"].communicate(b"")[0].decode()
        verdicts.add(verdict)
        if verdict == "never\n":
            assert processes["submit"].returncode == 75
            assert not (base / "ran").exists()
        else:
            assert verdict == "submitted\n0\n7\n"
            assert processes["submit"].returncode == 0
            assert (base / "ran").read_text() == "x\n"
    assert len(verdicts) == 2, "the race was no race: one side always won"
