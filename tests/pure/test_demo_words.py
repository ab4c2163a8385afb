"""How a make-believe site is asked for, and where it cannot be."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from hpclaunch.demo import machine
from hpclaunch.demo.machine import check_machine
from hpclaunch.demo.modes import MODES, REFUSAL, WAITING, read_mode
from hpclaunch.errors import HpclaunchError

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


@pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf"])
def test_what_is_usual_need_not_be_said(kind):
    assert read_mode(kind, "hold") == ("hold", WAITING[kind])
    assert read_mode(kind, "refuse") == ("refuse", REFUSAL[kind])
    assert read_mode(kind, "refuse=a = b") == ("refuse", "a = b")


def test_chatter_is_a_line_of_its_own():
    assert read_mode("lsf", "chatter=Good morning") == ("chatter", "Good morning\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sing", "no mode 'sing'; there are hold, refuse"),
        ("delay", "delay needs seconds: delay="),
        ("delay=", "delay needs seconds"),
        ("delay=soon", "told in seconds, not 'soon'"),
        ("delay=-1", "told in seconds"),
        ("delay=1.2.3", "told in seconds"),
        ("delay=.", "told in seconds"),
        ("array_size=1.5", "told in number"),
        ("chatter", "chatter needs words"),
        ("mute=yes", "mute takes nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_mode("slurm", text)


@pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf"])
def test_a_refusal_is_one_that_was_recorded(kind):
    words = REFUSAL[kind].replace("normal: ", "bobonly: ")
    assert any(words in path.read_text() for path in TRANSCRIPTS.glob("*/40_errors.txt"))


def test_every_number_that_a_mode_takes_can_be_read():
    for name, mode in MODES.items():
        if mode.takes in ("seconds", "number"):
            assert float(read_mode("slurm", f"{name}=3")[1]) == 3


def test_other_systems_are_told_where_it_can_run(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(HpclaunchError, match="needs Linux") as caught:
        check_machine()
    assert "WSL" in caught.value.hint


def test_an_environment_without_jupyterlab_is_told_what_it_lacks(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        machine, "find_spec", lambda name: None if name == "jupyterlab" else found(name)
    )
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(HpclaunchError, match="has no jupyterlab") as caught:
        check_machine()
    assert "hpclaunch[site]" in caught.value.hint
