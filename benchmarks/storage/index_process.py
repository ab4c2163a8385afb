"""``python -m benchmarks.storage.index_process build|load PATH``: one index in its own process.

Prints one line of JSON: seconds, and by how many MB the process's peak memory grew.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from benchmarks.storage.growth import tiny
from hpclaunch.storage import sidecar


def main() -> None:
    """What the measured process does: everything is imported and used once before."""
    what, path = sys.argv[1:]
    small = tiny(Path(path).parent / "first.nc")
    sidecar.sidecar_of(small).unlink(missing_ok=True)
    sidecar.load(small)
    if what == "build":
        sidecar.sidecar_of(path).unlink(missing_ok=True)
    before, began = peak(), time.perf_counter()
    sidecar.load(path)
    seconds = time.perf_counter() - began
    size = sidecar.sidecar_of(path).stat().st_size
    print(json.dumps({"seconds": seconds, "MB": peak() - before, "sidecar MB": size / 1e6}))


def peak() -> float:
    """The most memory this process ever had, MB; getrusage would count its parent's too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1000


if __name__ == "__main__":
    main()
