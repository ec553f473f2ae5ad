"""Results as pages that stand alone: one html file that opens by a double click, without a server and without internet.

command    the command line's words -> a file      flow.js    particles by WebGL 2, and the clock; the app's as well
options    which words there are                   cells.js   the cells, by WebGL 2 or plain
page       a result -> the file                    layers.js  streamlines and the growth map
contents   a scene -> what the page shows          page.js    what a reader does, and what it does
packing    arrays -> bytes -> text                 data.js    the arrays again, and what cells are coloured by
                                                   page.html, page.css

Only words stand here, and the scripts, which the app reads too.
"""

from __future__ import annotations

from pathlib import Path

SCRIPTS = ("flow.js", "data.js", "cells.js", "layers.js", "page.js")
"""The parts of a page's script, one after the other in one scope."""


def text(name: str) -> str:
    """A file of this folder: a script, the style or the frame of a page."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
