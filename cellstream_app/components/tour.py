"""Tour: hints for a first visit, each beside what it speaks of; a browser shows them once."""

from __future__ import annotations

from pathlib import Path

import panel as pn
import param


class Tour(pn.custom.JSComponent):
    """Invisible itself. Shows its steps one after the other as soon as what they point at is there, and never again in
    the same browser, but when ``again`` changes."""

    steps = param.List(default=[], doc="Dicts of `title`, `text` and `find`, the CSS selector of what it points at.")
    shown = param.Boolean(default=False, doc="Whether the page that they speak of is in sight; false ends the tour.")
    again = param.Integer(default=0, doc="Counts up to show them once more.")
    look = param.Dict(default={}, doc="Colours of the theme, and the font.")

    _esm = Path(__file__).with_name("tour.js")
