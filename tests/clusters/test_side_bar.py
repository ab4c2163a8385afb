"""The side bar of dask-labextension, which reads Dask's configuration."""

from __future__ import annotations

import importlib

import pytest

from hpclaunch.node.daskconfig import Place, settings
from hpclaunch.node.spec import Session, WorkerJobs

pytestmark = pytest.mark.pure


def test_new_names_the_sessions_cluster_instead_of_making_another() -> None:
    jobs = WorkerJobs(cores=1, memory=1)
    session = Session("/x", "demo", "abc", "local", mode="local", workers=2, jobs=jobs)
    found = settings(session, Place("127.0.0.1", "/env/bin/python", "", "/tmp/x"))["labextension"]
    assert found["initial"] == []
    named = found["factory"]
    make = getattr(importlib.import_module(named["module"]), named["class"])
    with pytest.raises(RuntimeError, match=r"Client\(\)"):
        make(*named["args"], **named["kwargs"], asynchronous=True)
