"""``python -m benchmarks.storage.slow_read MS PEER PATH…``: a process under the shim.

It opens the files, reads everything with so many milliseconds for each read call, and prints one
line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

from benchmarks.storage.peers import PEERS
from benchmarks.storage.recipe import VARIANTS, Archive
from benchmarks.storage.tasks import touch


def main() -> None:
    """What the measured process does."""
    milliseconds, name, *paths = sys.argv[1:]
    shim = ctypes.CDLL(None)
    taken = (ctypes.c_uint64 * 2)()
    shim.hpclaunch_calls_take(taken)
    dataset = PEERS[name].open(Archive(VARIANTS["std"], tuple(paths)), None)
    shim.hpclaunch_calls_take(taken)
    opening = taken[0]
    shim.hpclaunch_calls_delay(int(milliseconds) * 1000)
    used, began = time.process_time(), time.perf_counter()
    touch(dataset)
    wall, processor = time.perf_counter() - began, time.process_time() - used
    shim.hpclaunch_calls_take(taken)
    said = {"wall": wall, "processor": processor, "opening": opening}
    print(json.dumps({**said, "calls": taken[0], "bytes": taken[1]}))


if __name__ == "__main__":
    main()
