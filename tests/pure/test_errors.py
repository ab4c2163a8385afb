"""Errors say what happened, and travel between processes unchanged."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch import errors
from hpclaunch.errors import HpclaunchError, SubmitError, UsageError

KINDS = [getattr(errors, name) for name in errors.__all__]
words = st.text(min_size=1).filter(str.strip)


@given(
    kind=st.sampled_from(KINDS),
    what=words,
    command=st.none() | st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1),
    said=st.none() | words,
    log=st.none() | words,
    hint=st.none() | words,
)
def test_an_error_travels_as_json(kind, what, command, said, log, hint):
    error = kind(what, command=command, said=said, log=log, hint=hint)
    again = HpclaunchError.from_dict(json.loads(json.dumps(error.to_dict())))
    assert type(again) is kind
    assert again.to_dict() == error.to_dict()
    assert (again.exit_code, str(again)) == (error.exit_code, what)
    assert again.lines() == error.lines()


def test_an_error_of_a_newer_release_is_still_an_error():
    fields = {**SubmitError("refused", hint="ask").to_dict(), "kind": "TooModernError"}
    again = HpclaunchError.from_dict(fields)
    assert type(again) is HpclaunchError
    assert again.lines() == ["error: refused", "hint: ask"]


def test_every_error_of_the_module_is_in_its_list_and_in_its_picture():
    defined = {
        name
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, HpclaunchError)
    }
    assert defined == set(errors.__all__)
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in defined)


def test_only_wrong_usage_has_exit_code_2():
    assert [kind for kind in KINDS if kind("x").exit_code == 2] == [UsageError]
    assert all(kind("x").exit_code == 1 for kind in KINDS if kind is not UsageError)


def test_the_report_begins_with_error_and_ends_with_hint():
    error = SubmitError(
        "Slurm refused the job",
        command=["sbatch", "--account=a b"],
        said="sbatch: error: one\n  two\n",
        log="last\nwords\n",
        hint="choose another",
    )
    assert error.lines() == [
        "error: Slurm refused the job",
        "  command: sbatch '--account=a b'",
        "  the site said:",
        "    sbatch: error: one",
        "      two",
        "  last lines of the log:",
        "    last",
        "    words",
        "hint: choose another",
    ]


@pytest.mark.parametrize("empty", [None, "", "  \n "])
def test_what_was_not_said_is_not_told(empty):
    error = SubmitError("refused", said=empty, log=empty, command=[])
    assert error.lines() == ["error: refused", f"hint: {SubmitError.usual_hint}"]


def test_every_error_says_what_to_do_next():
    kinds = [HpclaunchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert kind("it failed").lines()[-1].startswith("hint: "), kind
