"""Bytes of files changed at random: the sound values, or an ordinary exception; no crash.

Each series of changes runs in a process of its own, so that a crash is seen as such. The HDF5 and
the netCDF library read the metadata of a file that has no valid index, and they are known to crash
and to hang on some damaged files; where a process dies of a change of metadata, the same change is
given to engine ``netcdf4`` alone, and only if that survives it was ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.storage.victims import checked, copy, flip, good, read

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]


def changes(path: Path, reference: str, seed: int, count: int) -> tuple[list[str], str]:
    """How each change ended, and the last one if the process died of it or was stuck."""
    command = [
        *(sys.executable, "-m", "tests.storage.fuzz_worker", str(path), reference),
        *(str(seed), str(count)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        said, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    lines = said.splitlines()
    endings = [one.removeprefix("ending ") for one in lines if one.startswith("ending ")]
    died = process.returncode != 0
    return endings, lines[-1] if died and lines else ("at once" if died else "")


def the_library_alone(path: Path, change: str) -> int:
    """The exit code of a process in which engine netcdf4 reads the file with that change."""
    _, at, bits = change.split()
    spoiled = copy(path, path.parent, "spoiled.nc")
    flip(spoiled, int(at), int(bits))
    code = (
        "import sys, pathlib\nfrom tests.storage.victims import attempt, read\n"
        "attempt(lambda: read(pathlib.Path(sys.argv[1]), 'netcdf4'))"
    )
    try:
        return subprocess.run(
            [sys.executable, "-c", code, str(spoiled)], cwd=ROOT, timeout=60, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return -9


def hold(original: Path, folder: Path, reference: str, seed: int, count: int) -> list[str]:
    """Run changes, going on after a crash of the library; the endings."""
    found: list[str] = []
    while len(found) < count:
        path = copy(original, folder, "victim.nc")
        endings, fatal = changes(path, reference, seed, count - len(found))
        found += endings
        seed += 1000
        if fatal:
            assert fatal.startswith("change"), fatal
            clean = copy(original, folder, "clean.nc")
            assert the_library_alone(clean, fatal) < 0, f"crashed, and not in HDF5: {fatal}"
            found.append("the library crashed")
    return found


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_file_with_checksums_everywhere(tmp_path: Path, seed: int) -> None:
    original = checked(tmp_path / "original.h5")
    count = 150 if seed == 1 else 3000
    endings = hold(original, tmp_path, "pristine", seed, count)
    assert set(endings) <= {"same", "refused", "the library crashed"}
    assert endings.count("refused") > count / 2, "most bytes of the file matter"


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.long)])
def test_a_file_as_netcdf_writes_it(tmp_path: Path, seed: int) -> None:
    """Its metadata has no checksums: what engine netcdf4 tells of the changed file is right too."""
    original = good(tmp_path / "original.nc")
    endings = hold(original, tmp_path, "netcdf4", seed, 150 if seed == 3 else 3000)
    assert set(endings) <= {"same", "refused", "changed", "the library crashed"}
    assert "refused" in endings


MOST = 150
"""MiB."""

MEASURED = """
import pathlib, resource, sys
from tests.storage.victims import attempt, read
from hpclaunch.errors import CorruptFile
read(pathlib.Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = attempt(lambda: read(pathlib.Path(sys.argv[2])))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(type(found).__name__, grown // 1024)
print(str(found).replace(chr(10), " "))
"""


def measured(small: Path, path: Path) -> tuple[str, int, str]:
    """The type of what reading gives, the memory that it took in MiB, and its text."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(small), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, said = done.stdout.split("\n", 1)
    kind, grown = first.split()
    return kind, int(grown), said


def _bomb(path: Path) -> None:
    """A chunk of 400 bytes, by the file's word, that inflates to 400 MB."""
    import zlib

    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range(400)) + packer.flush()
    with h5py.File(path, "w") as file:
        one = file.create_dataset("x", (100,), "f4", chunks=(100,), compression="gzip")
        one.id.write_direct_chunk((0,), packed)


def _gigantic_chunk(path: Path) -> None:
    """A chunk of 4 GB less a little, by the file's word, of which a few bytes are there."""
    with h5py.File(path, "w") as file:
        one = file.create_dataset(
            "x", (10,), "f4", chunks=(1_000_000_000,), maxshape=(None,), compression="gzip"
        )
        one.id.write_direct_chunk((0,), b"x\x9c" + os.urandom(50))


def _gigantic_raw_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        one = file.create_dataset("x", (10,), "f4", chunks=(1_000_000_000,), maxshape=(None,))
        one.id.write_direct_chunk((0,), np.arange(100, dtype="f4").tobytes())


@pytest.mark.parametrize("write", [_bomb, _gigantic_chunk])
def test_a_small_file_does_not_take_all_memory(tmp_path: Path, write: object) -> None:
    assert callable(write)
    path, small = tmp_path / "bomb.nc", good(tmp_path / "small.nc")
    write(path)
    kind, grown, said = measured(small, path)
    assert (kind, grown < MOST) == ("CorruptFile", True), f"{kind}, {grown} MiB: {said}"
    assert str(path) in said and "variable /x" in said


def test_a_chunk_that_is_not_all_there(tmp_path: Path) -> None:
    """What is asked for is there, most of the chunk is not: the values, or an error."""
    path, small = tmp_path / "short.nc", good(tmp_path / "small.nc")
    _gigantic_raw_chunk(path)
    kind, grown, said = measured(small, path)
    assert kind in ("CorruptFile", "Dataset") and grown < MOST, f"{kind}, {grown} MiB: {said}"
    if kind == "Dataset":
        assert read(path)["x"].values.tolist() == list(range(10))


def test_a_gigantic_chunk_that_was_never_written(tmp_path: Path) -> None:
    path, small = tmp_path / "hole.nc", good(tmp_path / "small.nc")
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "x", (10,), "f4", chunks=(1_000_000_000,), maxshape=(None,), fillvalue=3
        )
    kind, grown, said = measured(small, path)
    assert (kind, grown < MOST) == ("Dataset", True), f"{kind}, {grown} MiB: {said}"
