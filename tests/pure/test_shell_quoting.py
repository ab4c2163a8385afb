"""What passes the one function that quotes arrives in a real shell as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpclaunch.shell import join, quote
from tests.pure.hostile import EVIL, arguments, names

SHELLS = ("sh", "bash", "dash")
"""What /bin/sh is on the systems that sites run, and what batch scripts are run by."""


def heard_by(shell: str, script: str, folder: Path | None = None, **variables: str) -> list[str]:
    """The arguments that a program gets, which the script calls and which ends each by NUL."""
    done = subprocess.run(
        [shell],
        input=script.encode(errors="surrogateescape"),
        capture_output=True,
        check=True,
        cwd=folder,
        env={"PATH": os.defpath, **variables},
    )
    assert done.stderr == b""
    return done.stdout.decode(errors="surrogateescape").split("\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shells_that_sites_have_are_here(shell):
    assert shutil.which(shell)


@pytest.mark.parametrize("shell", SHELLS)
@given(words=st.lists(arguments, min_size=1))
@example(words=list(EVIL))
@example(words=["\udcff\udcfe", "caf\udce9"])  # file names that are not UTF-8
def test_every_word_arrives_as_it_was(shell, words):
    line = " ".join(quote(word) for word in words)
    assert heard_by(shell, f"printf '%s\\0' {line}\n") == words


@pytest.mark.parametrize("shell", SHELLS)
@given(value=arguments)
def test_an_assigned_value_arrives_as_it_was(shell, value):
    script = f"value={quote(value)}\nprintf '%s\\0' \"$value\"\n"
    assert heard_by(shell, script) == [value]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bin")


def run_named(shell: str, folder: Path, argv: Sequence[str]) -> list[str]:
    """Give a program the name ``argv[0]``, find it by PATH and see what it hears."""
    program = folder / argv[0]
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    try:
        return heard_by(shell, join(argv) + "\n", PATH=f"{folder}:{os.defpath}")
    finally:
        program.unlink()


BUILTINS = {"chdir", *heard_by("bash", "printf '%s\\0' $(compgen -b)\n")}
# Bash takes a command that begins with % for one of its jobs, however it is quoted.
commands = names.filter(lambda name: not name.startswith("%") and name not in BUILTINS)


@pytest.mark.parametrize("shell", SHELLS)
@given(argv=st.tuples(commands, arguments, arguments))
@example(argv=("if", "x", "y"))
@example(argv=("FOO=bar", "x", "y"))
@example(argv=("FOO+=bar", "x", "y"))
@example(argv=("-c", "touch pwned", ""))
def test_a_joined_command_is_that_command_with_those_arguments(shell, folder, argv):
    assert run_named(shell, folder, argv) == list(argv[1:])


@pytest.mark.parametrize(
    "word",
    [
        *("case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "then", "until"),
        *("while", "a=1"),
    ],
)
def test_a_command_may_be_called_like_a_keyword_or_an_assignment(word, folder):
    for shell in SHELLS:
        assert run_named(shell, folder, [word, word]) == [word]


@pytest.mark.parametrize("word", ["coproc", "function", "select", "time"])
def test_a_command_may_be_called_like_a_keyword_of_bash(word, folder):
    assert run_named("bash", folder, [word, word]) == [word]


def test_nothing_joins_to_nothing():
    assert join([]) == ""


@given(before=arguments, after=arguments)
def test_a_nul_character_is_refused(before, after):
    with pytest.raises(ValueError, match="NUL"):
        quote(f"{before}\0{after}")
