"""``cellstream app --window``: the app in a window of its own, which ends the server when it is closed.

By pywebview where it is installed, else by a browser of Chrome's kind without its bars; where there is neither, as a
page of the usual browser. Run as a process beside the server: ``python -m cellstream.window ADDRESS SERVER TITLE``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from cellstream.terminal import say

BROWSERS = (
    "google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge", "microsoft-edge-stable",
    "brave-browser", "chrome", "msedge",
)  # fmt: skip
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
SIZE = (1440, 920)
"""Of the window, in pixels."""
PATIENCE = 120.0
"""Seconds until the server must have come up."""


def open_beside(server: int, address: str, title: str) -> None:
    """Start the process that shows a window, for the server of this process number."""
    subprocess.Popen([sys.executable, "-P", "-m", "cellstream.window", address, str(server), title])


def show(address: str, server: psutil.Process, title: str) -> None:
    """Wait for the server, show its page until the window is closed or the server ends, and end the server."""
    if not _up(address, server):
        return
    if importlib.util.find_spec("webview") is not None:
        _by_webview(address, server, title)
    elif program := browser():
        with tempfile.TemporaryDirectory(prefix="cellstream-window-", ignore_cleanup_errors=True) as profile:
            _by_browser(program, profile, address, server)
    else:
        say("No window of its own: install pywebview (pip install 'cellstream[window]'), Chrome, Chromium or Edge.")
        webbrowser.open(address)
        return  # a page of a browser that runs already ends nothing
    if server.is_running():
        server.terminate()


def browser() -> str | None:
    """A browser that can show a page without its bars; ``CELLSTREAM_CHROMIUM`` names one."""
    named = [os.environ.get("CELLSTREAM_CHROMIUM", ""), *BROWSERS]
    found = (shutil.which(name) for name in named if name)
    return next(filter(None, found), None) or next((place for place in PLACES if Path(place).exists()), None)


def _up(address: str, server: psutil.Process) -> bool:
    place = urlsplit(address)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and _alive(server):
        try:
            socket.create_connection((place.hostname or "", place.port or 80), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.1)
    return False


def _alive(server: psutil.Process) -> bool:
    return server.is_running() and server.status() != psutil.STATUS_ZOMBIE


def _by_webview(address: str, server: psutil.Process, title: str) -> None:
    import webview

    made = webview.create_window(title, address, width=SIZE[0], height=SIZE[1])

    def watch() -> None:
        while _alive(server):
            time.sleep(0.5)
        made.destroy()

    threading.Thread(target=watch, daemon=True).start()
    webview.start()


def _by_browser(program: str, profile: str, address: str, server: psutil.Process) -> None:
    """A profile of its own keeps the process until the window is closed, and knows no other page."""
    command = [program, f"--app={address}", f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}"]
    command += ["--no-first-run", "--no-default-browser-check"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # it does not start for root otherwise
    window = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while window.poll() is None and _alive(server):
        time.sleep(0.2)
    if window.poll() is None:
        window.terminate()
        window.wait(10)


if __name__ == "__main__":
    show(sys.argv[1], psutil.Process(int(sys.argv[2])), sys.argv[3])
