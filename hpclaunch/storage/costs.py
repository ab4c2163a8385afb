"""What opening files costs: their index, and a lock."""

from __future__ import annotations

import os
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from hpclaunch.storage import sidecar
from hpclaunch.storage.advice import Gain
from hpclaunch.storage.describe import FileFacts
from hpclaunch.storage.sampling import gain_of
from hpclaunch.storage.scan import scan

__all__ = ["index_gain", "lock_cost"]

_ROUNDS = 3
_MOST_CHUNKS = 20_000
_LOCKS = 20


def index_gain(facts: FileFacts) -> Gain | str:
    """A file's index taken from the cache against one made of the file; or why it was not tried."""
    if sum(one.count for one in facts.variables) > _MOST_CHUNKS:
        return f"it has more than {_MOST_CHUNKS} chunks, whose index is not made for a trial"
    kept, made = [], []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        scan(facts.path)
        made.append(time.perf_counter() - start)
        sidecar.forget()
        start = time.perf_counter()
        if sidecar.cached(facts.path) is None:
            return "no index can be kept here"
        kept.append(time.perf_counter() - start)
    found = gain_of(kept, made, "making the index of a file when it is opened")
    assert found is not None
    return found


def lock_cost(path: str) -> float | str:
    """Seconds of a lock for reading and its release, as HDF5 asks for one; or why it is refused."""
    if find_spec("fcntl") is None:  # as on Windows
        return "this system has no flock"
    fcntl: Any = import_module("fcntl")
    handle = os.open(path, os.O_RDONLY)
    try:
        start = time.perf_counter()
        for _ in range(_LOCKS):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(handle, fcntl.LOCK_UN)
        return (time.perf_counter() - start) / _LOCKS
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(handle)
