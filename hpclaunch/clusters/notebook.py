"""Run a notebook from its first cell to its last, and save what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

__all__ = ["run"]


def run(path: str, target: Path, directory: str, scratch: str) -> tuple[int, list[str]]:
    """Execute the notebook at `path`; returns the exit code and the files that were written.

    The executed notebook is saved after every cell, so that nothing is lost with the job, and as
    HTML at the end; also where a cell fails, up to that cell. What cells say is printed.

    Parameters
    ----------
    path : str
    target : Path
        Is written with the suffixes ``.out.ipynb`` and ``.html``.
    directory : str
        Where the kernel runs.
    scratch : str
        A private directory of this node, for the kernel's sockets: others could listen to ports.

    Returns
    -------
    code : int
        0, or 1 where a cell failed, the kernel died or no HTML could be made.
    written : list of str
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # what is no notebook is so in many ways
        _say(sys.stderr, f"{path} is no notebook: {error}\n")
        return 1, []
    executed = target.with_name(target.name + ".out.ipynb")

    def told(cell: Mapping[str, Any], **_facts: Any) -> None:
        for output in cell.get("outputs", ()):
            _print(output)
        _write(executed, nbformat.writes(notebook))

    client = NotebookClient(
        notebook,
        km=_kernel_manager(scratch),
        timeout=None,
        resources={"metadata": {"path": directory}},
        on_cell_executed=told,
    )
    code = 0
    try:
        client.execute(cleanup_kc=True)
    except (CellExecutionError, DeadKernelError) as error:
        code = 1
        _say(sys.stderr, f"{error}\n")
    _write(executed, nbformat.writes(notebook))
    page = target.with_name(target.name + ".html")
    try:
        _write(page, _html(notebook))
    except Exception as error:  # whatever nbconvert and its templates may lack
        _say(sys.stderr, f"the notebook is saved, but not as HTML: {error}\n")
        return 1, [str(executed)]
    return code, [str(executed), str(page)]


def _kernel_manager(scratch: str) -> Any:
    """A manager of one kernel on this very interpreter, whatever kernels the user has."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> Any:
            return KernelSpec(**get_kernel_dict())

    return AsyncKernelManager(
        kernel_spec_manager=OwnKernel(),
        transport="ipc",
        ip=str(Path(scratch) / "kernel"),
        connection_file=str(Path(scratch) / "kernel.json"),
    )


def _print(output: Mapping[str, Any]) -> None:
    """What a cell has said, as text; errors are told by who meets them."""
    if output["output_type"] == "stream":
        _say(sys.stderr if output["name"] == "stderr" else sys.stdout, output["text"])
    elif "text/plain" in output.get("data", {}):
        _say(sys.stdout, output["data"]["text/plain"] + "\n")


def _say(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def _html(notebook: Any) -> str:
    from nbconvert import HTMLExporter

    text, _resources = HTMLExporter().from_notebook_node(notebook)
    return str(text)


def _write(path: Path, text: str) -> None:
    """In one step: whoever looks meanwhile sees the old file or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
