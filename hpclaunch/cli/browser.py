"""Open the browser without the token in any argv: it is sent to a 0600 file that redirects."""

from __future__ import annotations

import html
import json
import os
import sys
import webbrowser
from pathlib import Path

from hpclaunch.paths import write_private

__all__ = ["open_browser"]

_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>hpclaunch</title>
<script>location.replace({script})</script>
<a href="{link}">Open JupyterLab</a>
"""


def open_browser(page: Path, url: str) -> bool:
    """Write a redirect to `url` into `page` and have the user's browser open that file.

    Returns
    -------
    bool
        Whether a browser was started; on a machine without display nothing is tried.
    """
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")
    ):
        return False
    script = json.dumps(url).replace("<", "\\u003c")
    text = _PAGE.format(script=script, link=html.escape(url, quote=True))
    write_private(page, text.encode())
    try:
        return webbrowser.open(page.as_uri())
    except webbrowser.Error:
        return False
