"""What a person sees: JupyterLab, a cell, the Dask dashboard and a terminal, through the tunnel.

The tests are one visit, in the order in which they stand here, in one browser.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ARTIFACTS, Shown, Told
from tests.support.launch import eventually, kernel

pytestmark = pytest.mark.browser

MEGABYTE = 1 << 20
BIG = 500 * MEGABYTE
COMPUTE = """\
import dask.array as da
from distributed import Client
client = Client()
client.wait_for_workers(1)
int(da.arange(4_000_000, chunks=100_000).map_blocks(abs).sum())
"""
WORK = """\
import time
from distributed import Client
client = Client()
first = client.map(lambda n: time.sleep(0.1) or n, range(80), pure=False)
second = client.map(lambda n: time.sleep(0.05) or n, first)
time.sleep(2)
"""
RESULT = str(sum(range(4_000_000)))


def shoot(page: Page, name: str) -> None:
    page.screenshot(path=ARTIFACTS / f"{name}.png")


def notebook(*cells: str) -> dict[str, object]:
    """A notebook document."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {
                "name": "python3",
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
            },
            "language_info": {"name": "python"},
        },
        "cells": [
            {"id": f"cell{number}", "cell_type": "code", "metadata": {}, "outputs": [],
             "execution_count": None, "source": source}
            for number, source in enumerate(cells)
        ],
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _files(shown: Shown) -> None:
    text = json.dumps(notebook(COMPUTE)).encode()
    shown.cluster.ssh("cat >shown/first.ipynb", stdin=text)


def test_the_file_that_hpclaunch_opens_leads_to_jupyterlab(shown: Shown, page: Page) -> None:
    assert shown.opened.startswith("file:///")
    assert stat.S_IMODE(Path(shown.opened.removeprefix("file://")).stat().st_mode) == 0o600
    page.goto(shown.opened)
    page.wait_for_url(f"{shown.base}/lab**")
    expect(page.locator("#jp-MainLogo")).to_be_visible()
    expect(page.locator(".jp-DirListing-item", has_text="first.ipynb")).to_be_visible()
    eventually(lambda: "token=" not in page.url, what="the token leaves the address bar")


def test_a_cell_runs_and_shows_its_output(page: Page) -> None:
    page.locator(".jp-DirListing-item", has_text="first.ipynb").dblclick()
    cell = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-CodeCell").first
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea-output").last).to_contain_text(RESULT, timeout=120_000)
    news = page.get_by_role("button", name="No", exact=True)
    if news.is_visible():  # JupyterLab offers its news to new users, now or later
        news.click()
        expect(news).to_be_hidden()
    shoot(page, "cell")


def test_a_terminal_opens_and_runs_a_command(shown: Shown, page: Page) -> None:
    page.locator(".jp-MenuBar-anchor, .lm-MenuBar-item", has_text="File").first.click()
    page.locator(".lm-Menu-item[data-type='submenu']", has_text="New").first.hover()
    page.locator(".lm-Menu-item[data-command='terminal:create-new']").click()
    page.locator(".lm-TabBar-tab", has_text="alice@").last.click()
    page.locator(".jp-Terminal .xterm-screen").last.click()
    page.keyboard.type("(uname -n; pwd) >~/shown/new; mv ~/shown/new ~/shown/said\n", delay=5)
    said = eventually(
        lambda: shown.cluster.ssh("cat shown/said 2>/dev/null", check=False),
        what="the command has run",
    )
    assert said.split()[0] == shown.document["job"]["node"]
    shoot(page, "terminal")


def test_the_dask_dashboard_lives(shown: Shown, page: Page, told: Told) -> None:
    dashboard = page.context.new_page()
    dashboard.goto(shown.document["dask"]["dashboard"])
    expect(dashboard.locator(".bk-Figure, .bk-Canvas").first).to_be_attached()
    opened = [url for url in told.websockets if "/dask/status/ws" in url]
    assert opened and opened[0].startswith(f"ws://127.0.0.1:{shown.base.rpartition(':')[2]}/")
    with dashboard.expect_event("websocket", timeout=60_000) as channel:
        dashboard.reload()
    # Live: the server goes on sending, and nothing is wrong with what it sends.
    for _ in range(3):
        channel.value.wait_for_event("framereceived", timeout=30_000)
    assert not channel.value.is_closed()
    with kernel(shown.document) as running:
        assert running.run(WORK).error is None
        dashboard.wait_for_timeout(1500)  # the plots are drawn every 100 to 500 ms
        shoot(dashboard, "dashboard")
    dashboard.close()


def test_both_pictures_are_put_side_by_side_for_the_readme(page: Page) -> None:
    def source(name: str) -> str:
        data = base64.b64encode((ARTIFACTS / f"{name}.png").read_bytes()).decode()
        return f"data:image/png;base64,{data}"

    both = page.context.new_page()
    both.set_content(
        "<!doctype html><style>body{margin:0;background:#777}div{display:flex;gap:8px}"
        "img{width:calc(50% - 4px)}</style>"
        f'<div><img src="{source("cell")}"><img src="{source("dashboard")}"></div>'
    )
    both.locator("div").screenshot(path=ARTIFACTS / "jupyterlab-dask.png")
    both.close()
    assert (ARTIFACTS / "jupyterlab-dask.png").stat().st_size > 30_000, "not an empty picture"


def test_500_megabytes_come_down_whole(shown: Shown, page: Page) -> None:
    shown.cluster.ssh(
        f"openssl enc -aes-128-ctr -pass pass:x -nosalt -pbkdf2 </dev/zero 2>/dev/null "
        f"| head -c {BIG} >shown/big.bin"
    )
    expected = shown.cluster.ssh("sha256sum shown/big.bin").split()[0]
    with page.expect_download(timeout=300_000) as coming:
        page.evaluate(
            """path => { const a = document.createElement('a'); a.href = path;
                         a.download = 'big.bin'; document.body.append(a); a.click(); }""",
            "/files/big.bin?download=1",
        )
    path = coming.value.path()
    assert path.stat().st_size == BIG
    assert _digest(path) == expected
    coming.value.delete()


def test_500_megabytes_go_up_whole(shown: Shown, page: Page, tmp_path: Path) -> None:
    """By the person's own way: JupyterLab's upload button, which sends chunks of 1 MB."""
    big = tmp_path / "upload.bin"
    with big.open("wb") as file:
        for _ in range(BIG // MEGABYTE):
            file.write(os.urandom(MEGABYTE))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload Files").click()
    chooser.value.set_files(big)
    page.locator("dialog.jp-Dialog .jp-mod-accept").click()  # "the file size is 500 MB"
    done = f"test $(stat -c %s shown/upload.bin 2>/dev/null || echo 0) = {BIG} && echo yes"
    eventually(lambda: shown.cluster.ssh(done, check=False), timeout=300, what="all of it is there")
    assert shown.cluster.ssh("sha256sum shown/upload.bin").split()[0] == _digest(big)
    shown.cluster.ssh("rm shown/upload.bin shown/big.bin")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_nothing_was_asked_elsewhere_and_nothing_was_mixed(shown: Shown, told: Told) -> None:
    own = (shown.base + "/", shown.base.replace("http", "ws") + "/", "file:///", "data:", "blob:")
    assert len(told.requests) > 50 and len(told.websockets) >= 3
    assert [url for url in (*told.requests, *told.websockets) if not url.startswith(own)] == []


def test_the_browser_has_no_complaint_of_ours(told: Told) -> None:
    assert told.unexplained() == []
