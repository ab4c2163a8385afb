"""Change bytes of a file, read it each time and tell how that ends; run as a process of its own.

``python -m tests.storage.fuzz_worker FILE REFERENCE SEED COUNT`` prints the place of a change
before each attempt and its ending after it, so that whoever reads knows what a crash was about.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

from tests.storage.victims import ending, flip, pristine, read


def main(file: str, reference: str, seed: str, count: str) -> None:
    """Run; `reference` is ``pristine`` or ``netcdf4``, which then reads the changed file too."""
    warnings.simplefilter("ignore")
    path = Path(file)
    wanted = pristine(path)
    random = np.random.default_rng(int(seed))
    size = path.stat().st_size
    for _ in range(int(count)):
        at, bits = int(random.integers(size)), int(random.integers(1, 256))
        print("change", at, bits, flush=True)
        flip(path, at, bits)
        said = ending(path, wanted)
        if reference == "netcdf4" and said not in ("same", "refused"):
            said = _second_look(path, said)
        flip(path, at, bits)
        print("ending", said, flush=True)


def _second_look(path: Path, said: str) -> str:
    """Metadata without checksums may say something else, and then does so to everybody."""
    try:
        theirs = read(path, "netcdf4")
    except Exception as why:
        return f"{said}; engine netcdf4 refuses: {type(why).__name__}: {why}"
    return "changed" if ending(path, theirs) == "same" else said


if __name__ == "__main__":
    main(*sys.argv[1:])
