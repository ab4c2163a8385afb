"""A headless Chromium, and a session of the cluster that it sees through the tunnel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, Response, sync_playwright

from tests.support.cluster import PROFILE, Cluster, NoEngine, bring_up
from tests.support.launch import Laptop, eventually

ARTIFACTS = Path(__file__).parents[1] / "artifacts" / "browser"
NAME = "shown"
FLAGS = [
    "--no-sandbox",  # tests run as root in containers, where Chromium's own sandbox cannot
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
ALLOWED = {
    # JupyterLab asks whether a workspace or a file exists, and 404 is the answer "no".
    r"404 .*/lab/api/workspaces/": "a new browser has no workspace yet",
    r"404 .*/api/contents/": "JupyterLab looks for a file before it makes it",
    # Pages that are left cancel what they were still asking for.
    r"net::ERR_ABORTED .*": "cancelled by the page that was left",
}


@dataclass
class Told:
    """What a browser complains of, with what may be passed over and why."""

    complaints: list[str] = field(default_factory=list)
    websockets: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def console(self, message: ConsoleMessage) -> None:
        # A failed request is told by `response` below, with its status.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"console: {message.text} ({message.location})")

    def failed(self, request: Request) -> None:
        self.complaints.append(f"{request.failure} {request.url}")

    def answered(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")

    def listen(self, page: Page) -> None:
        page.on("console", self.console)
        page.on("pageerror", lambda error: self.complaints.append(f"page: {error}"))
        page.on("requestfailed", self.failed)
        page.on("response", self.answered)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda opened: self.websockets.append(opened.url))

    def unexplained(self) -> list[str]:
        """Complaints for which `ALLOWED` has no reason."""
        return [one for one in self.complaints if not any(re.search(why, one) for why in ALLOWED)]


@dataclass(frozen=True)
class Shown:
    """A session and the file that hpclaunch had the browser open."""

    laptop: Laptop
    cluster: Cluster
    document: dict[str, Any]
    opened: str

    @property
    def base(self) -> str:
        return str(self.document["url"]).split("/lab")[0]


@pytest.fixture(scope="package")
def shown() -> Iterator[Shown]:
    """A session whose browser is a program that only notes what it was asked to open."""
    try:
        cluster = bring_up()
    except NoEngine as reason:
        pytest.skip(f"no container engine: {reason}")
    home = Path(tempfile.mkdtemp(prefix="hpcl-", dir="/tmp"))
    laptop = Laptop(home)
    noted, browser = home / "noted", home / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{noted}.new && mv {noted}.new {noted}\n')
    browser.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.callback(laptop.run, "stop", NAME)
        stack.callback(cluster.ssh, "rm -rf ~/shown")
        # JupyterLab keeps its layout on the site and would open the last run's terminals again.
        cluster.ssh("rm -rf ~/.jupyter/lab/workspaces; mkdir -p ~/shown")
        done = subprocess.run(
            laptop.argv("start", str(PROFILE), "--json", "--detach", "--name", NAME,
                        "--workers", "1", "--walltime", "00:30:00",
                        "--notebook-dir", "/home/alice/shown"),
            env=laptop.environment | {"BROWSER": str(browser)},
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        eventually(noted.exists, what="the browser was called")
        document = json.loads(done.stdout)
        yield Shown(laptop, cluster, document, noted.read_text().strip())


@pytest.fixture(scope="package")
def told() -> Told:
    """What the browser of all tests complains of."""
    return Told()


@pytest.fixture(scope="package")
def page(shown: Shown, told: Told) -> Iterator[Page]:
    """A page of a fresh browser."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium; tests/install_system_packages.sh installs it")
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            args=FLAGS,
            viewport={"width": 1400, "height": 900},
            accept_downloads=True,
            downloads_path=profile,
            env={**os.environ, "HOME": profile},
        )
        context.set_default_timeout(60_000)
        context.on("page", told.listen)
        one = context.new_page()
        yield one
        context.close()
