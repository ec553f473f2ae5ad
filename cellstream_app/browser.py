"""What the browser knows and the server does not: does it prefer dark, how fine are its pixels, which key was hit."""

from __future__ import annotations

import panel as pn
import param


class Browser(pn.custom.JSComponent):
    """Invisible; reports once when the page is up, and every key that belongs to no text field."""

    hello = param.Integer(default=0, doc="Counts up when the page is drawn.")
    prefers_dark = param.Boolean(default=False, doc="Whether the system's theme is dark.")
    pixel_ratio = param.Number(default=1.0, doc="Device pixels in a pixel of the style sheet.")
    key = param.String(default="", doc="The last key: ' ', 'ArrowLeft', 'ArrowRight' or 'f'.")
    strokes = param.Integer(default=0, doc="Counts keys, so that the same key twice is heard twice.")

    _esm = """
const KEYS = [" ", "ArrowLeft", "ArrowRight", "f"]
export function render({model, view}) {
  model.prefers_dark = window.matchMedia("(prefers-color-scheme: dark)").matches
  model.pixel_ratio = window.devicePixelRatio || 1
  // an answer that comes while the page is still being drawn would be lost
  const tell = () => {
    if (!view.model.document?.is_idle) { setTimeout(tell, 40); return }
    model.hello += 1
  }
  setTimeout(tell, 40)
  const busy = (event) => event.composedPath().some((el) =>
    el.isContentEditable || ["INPUT", "TEXTAREA", "SELECT", "BUTTON"].includes(el.tagName) ||
    ["listbox", "menu", "slider", "tab"].includes(el.getAttribute?.("role")))
  const hear = (event) => {
    if (!KEYS.includes(event.key) || event.ctrlKey || event.metaKey || event.altKey || busy(event)) return
    event.preventDefault()
    model.key = event.key
    model.strokes += 1
  }
  window.addEventListener("keydown", hear)
  model.on("remove", () => window.removeEventListener("keydown", hear))
}
"""
