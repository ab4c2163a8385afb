"""Whether files are worth to be virtualized."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from hpclaunch import storage
from hpclaunch.filesystems import KINDS
from hpclaunch.storage.advice import Advice
from hpclaunch.storage.inspection import inspect
from hpclaunch.storage.virtualadvice import virtual_advice

pytestmark = pytest.mark.pure


def write(path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], **how: object) -> Path:
    with netCDF4.Dataset(path, "w") as root:
        for name, n in zip(("time", "lat", "lon"), shape, strict=True):
            root.createDimension(name, n)
        one = root.createVariable("v", "f4", ("time", "lat", "lon"), chunksizes=chunks, **how)
        one[:] = np.random.default_rng(1).random(shape, "f4")
    return path


def advice(path: Path, *others: Advice, files: int = 1, kind: str = "") -> Advice:
    found = inspect(str(path))
    place = replace(found.place, kind=KINDS[kind]) if kind else found.place
    return virtual_advice(found.facts, place, others, files=files)


def test_for_those_who_have_no_hpclaunch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", (8, 200, 200), (1, 200, 200))
    found = advice(path)
    assert found.value == "hpclaunch data virtualize FILE... --output archive.json"
    assert "only for readers without hpclaunch" in found.reason
    assert "object store: readers" in advice(path, kind="object store").reason
    assert str(advice(path, files=20_000).value).endswith("archive.parq")


def test_not_with_bad_chunks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", (8, 200, 200), (1, 200, 200))
    found = advice(path, Advice("rechunk", {"time": 8}, "bad", "v"))
    assert found.value is None and "those of v are bad: rechunk first" in found.reason


def test_not_with_small_chunks(tmp_path: Path) -> None:
    found = advice(write(tmp_path / "a.nc", (64, 40, 40), (1, 40, 40)))
    assert found.value is None and "those of v have 6.25 KiB" in found.reason


def test_not_with_filters_that_zarr_has_not(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.nc", (8, 200, 200), (1, 200, 200), compression="szip",
        szip_coding="nn", szip_pixels_per_block=8,
    )  # fmt: skip
    found = advice(path)
    assert found.value is None and "no codec for szip, the filter of v" in found.reason


def test_advise_says_so_and_claims_no_gain(tmp_path: Path) -> None:
    found = storage.advise([write(tmp_path / "a.nc", (8, 200, 200), (1, 200, 200))], seconds=0.2)
    one = found["virtualize"]
    assert one.code == one.value and not one.gains
    assert one.unmeasured == "nothing is read over a network for a trial"
