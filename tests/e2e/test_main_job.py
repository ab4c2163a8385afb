"""The main job on real input: a notebook on two Dask workers, through the tunnel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.e2e import expected
from tests.e2e.conftest import Place
from tests.support.launch import Laptop, kernel

NOTEBOOK = Path(__file__).with_name("climate.ipynb")


def run_notebook(document: dict[str, Any], data: str) -> dict[str, Any]:
    """Run every cell of the notebook in a fresh kernel and return what its last cell prints."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with kernel(document) as running:
        assert running.run(f"import os; os.environ['CLIMATE_DATA'] = {data!r}").error is None
        for cell in notebook.cells:
            output = running.run(cell.source)
            assert output.error is None, f"{cell.source}\n{output.text}\n{output.error}"
    found: dict[str, Any] = json.loads(output.text.splitlines()[-1])
    return found


@pytest.mark.long_with("paramiko")
def test_a_climate_notebook_on_two_workers_gives_the_values_of_plain_xarray(
    laptop: Laptop, place: Place, climate_on: str, climate: Path
) -> None:
    document = laptop.start(place.site, "--workers", "2", *place.options)
    assert document["state"] == "ready"
    assert document["dask"]["workers"] == 2
    found = run_notebook(document, climate_on)

    if place.cluster is not None:
        # The session's core and the workers' four are more than one node has.
        assert {document["job"]["node"], *found["hosts"]} == {"c1", "c2"}
    expected.holds(found, climate)

    stopped = laptop.run("stop", document["name"])
    assert stopped.returncode == 0, stopped.stderr
    if place.cluster is not None:
        assert place.cluster.jobs() == []
