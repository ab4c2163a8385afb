"""When the job ends, and where this node can be reached."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest

from hpclaunch.node import address
from hpclaunch.node.clock import ends_at
from hpclaunch.node.spec import Session

pytestmark = pytest.mark.pure

BEGAN = datetime(2026, 11, 23, 12, 0, 0, 999, tzinfo=UTC)


def session(scheduler: str, ends_in: float | None) -> Session:
    return Session("/x", "demo", "abc", scheduler, ends_in=ends_in)


def test_slurms_own_end_wins() -> None:
    told = {"SLURM_JOB_END_TIME": "1795435200"}
    found = ends_at(session("slurm", 60), BEGAN, told)
    assert found is not None
    assert found.isoformat() == "2026-11-23T12:00:00+00:00"


@pytest.mark.parametrize("told", [{}, {"SLURM_JOB_END_TIME": ""}, {"SLURM_JOB_END_TIME": "0"}])
def test_older_releases_leave_it_to_our_clock(told: dict[str, str]) -> None:
    found = ends_at(session("slurm", 60), BEGAN, told)
    assert found is not None
    assert found.isoformat() == "2026-11-23T12:01:00+00:00"


def test_a_leaked_variable_says_nothing_about_a_local_session() -> None:
    assert ends_at(session("local", None), BEGAN, {"SLURM_JOB_END_TIME": "1795435200"}) is None


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose name resolves to loopback, with two networks."""
    known = {"ib0": "10.2.0.7", "eth0": "10.1.0.7", "lo": "127.0.0.1", "usb0": "169.254.3.1"}
    monkeypatch.setattr(address, "_of_interface", lambda name: known.get(name or ""))
    monkeypatch.setattr(address, "_of_name", lambda: ["127.0.1.1"])
    monkeypatch.setattr(address, "_toward_submit_host", lambda: "10.1.0.7")
    interfaces = list(enumerate(["lo", "usb0", "eth0", "ib0"], 1))
    monkeypatch.setattr(socket, "if_nameindex", lambda: interfaces)


@pytest.mark.usefixtures("node")
def test_the_login_node_comes_back_the_way_the_job_came() -> None:
    assert address.for_login("ib0") == ["10.1.0.7", "10.2.0.7"]


@pytest.mark.usefixtures("node")
def test_other_nodes_come_over_the_recommended_network() -> None:
    assert address.for_nodes("ib0") == ["10.2.0.7", "10.1.0.7"]


@pytest.mark.usefixtures("node")
def test_a_hint_that_is_wrong_here_does_no_harm() -> None:
    assert address.for_nodes("hsn0") == ["10.1.0.7", "10.2.0.7"]


def test_loopback_of_this_machine() -> None:
    assert address._of_interface("lo") == "127.0.0.1"
    assert address._of_interface("no such interface") is None
    assert "127.0.0.1" not in address.for_nodes()


@pytest.mark.parametrize("name", ["SLURM_SUBMIT_HOST", "PBS_O_HOST", "LSB_SUB_HOST"])
def test_route_to_the_submit_host(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "127.0.0.1")
    assert address._toward_submit_host() == "127.0.0.1"
    monkeypatch.setenv(name, "no-such-host.invalid")
    assert address._toward_submit_host() is None
