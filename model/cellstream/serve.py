"""``cellstream app``: Panel's server with the app, for this machine only.

The app runs as another program, since the library itself knows no Panel.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys

from cellstream import window
from cellstream.errors import UserError
from cellstream.files import path_of
from cellstream.terminal import say

PORT = 5006


def serve(file: str | None, port: int | None, *, browser: bool, in_window: bool = False) -> int:
    """Become the server of the app, until it is stopped; where a process cannot, returns the server's exit code.

    With ``in_window`` a window of its own shows it, which ends the server when it is closed. The app finds the path of
    ``file`` in the environment as ``CELLSTREAM_FILE``: an address with a path in it could make it open any file.
    """
    found = importlib.util.find_spec("cellstream_app")  # found, not imported
    if found is None or not found.submodule_search_locations:
        raise UserError(
            "The app (package cellstream_app) is not installed: install cellstream again as its README says."
        )
    environment = dict(os.environ)
    if file:
        path = path_of(file)
        if not path.exists():
            raise UserError(f"There is no file {path}: give a path to data or a result, or none.")
        environment["CELLSTREAM_FILE"] = str(path)
    if port and not is_free(port):
        raise UserError(f"Port {port} is in use or not allowed: choose another one with --port, or none.")
    port = port or free_port()
    command = [sys.executable, "-P", "-m", "panel", "serve", *list(found.submodule_search_locations)[:1]]
    command += ["--address", "127.0.0.1", "--port", str(port)]
    for host in ("127.0.0.1", "localhost"):
        command += ["--allow-websocket-origin", f"{host}:{port}"]
    say(f"CellStream is at http://127.0.0.1:{port} and ends with Ctrl-C.")
    command += ["--show"] if browser and not in_window else []

    def show_beside(server: int) -> None:
        if in_window:
            title = f"{path_of(file).name} – CellStream" if file else "CellStream"
            window.open_beside(server, f"http://127.0.0.1:{port}/cellstream_app", title)

    if os.name == "posix":
        show_beside(os.getpid())
        os.execve(command[0], command, environment)  # not a child, which would outlive this process if that is killed
    with subprocess.Popen(command, env=environment) as server:  # Windows has no exec that a shell waits for
        show_beside(server.pid)
        try:
            return server.wait()
        except KeyboardInterrupt:
            return 0


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def free_port() -> int:
    found = next((port for port in range(PORT, PORT + 100) if is_free(port)), None)
    if found is None:
        raise UserError(f"No port from {PORT} to {PORT + 99} is free: choose one with --port.")
    return found
