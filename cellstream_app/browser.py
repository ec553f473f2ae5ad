"""What the browser knows and the server does not: does it prefer dark, how fine are its pixels, which key was hit."""

from __future__ import annotations

import panel as pn
import param


class Browser(pn.custom.JSComponent):
    """Invisible; reports once when the page is up, and every key that belongs to no text field."""

    hello = param.Integer(default=0, doc="Counts up when the page is drawn.")
    prefers_dark = param.Boolean(default=False, doc="Whether the system's theme is dark.")
    pixel_ratio = param.Number(default=1.0, doc="Device pixels in a pixel of the style sheet.")
    key = param.String(default="", doc="The last key, of those that mean something: see KEYS below.")
    listens = param.Boolean(default=False, doc="Whether keys mean something on the page that is shown.")
    strokes = param.Integer(default=0, doc="Counts keys, so that the same key twice is heard twice.")

    title = param.String(default="CellStream", doc="What the window is called.")
    look = param.Dict(default={}, doc="Colours of the theme, for what Bokeh draws outside of any plot: its tooltips.")

    _esm = """
const KEYS = [" ", "ArrowLeft", "ArrowRight", "f", "m", "b", "l", "Escape"]
export function render({model, view}) {
  model.prefers_dark = window.matchMedia("(prefers-color-scheme: dark)").matches
  model.pixel_ratio = window.devicePixelRatio || 1
  // an answer that comes while the page is still being drawn would be lost
  const tell = () => {
    if (!view.model.document?.is_idle) { setTimeout(tell, 40); return }
    model.hello += 1
  }
  setTimeout(tell, 40)
  // Bokeh takes a button that rests for 0.3 s for a press, and the drag that follows for nothing: so a lasso that is
  // begun with care is lost, and so is any in a browser that is busy. No figure here listens for a press.
  window.Bokeh.require("core/ui_gestures").UIGestures.press_threshold = 2 ** 31 - 1  // ms, the most a timer takes
  // Once the connection is lost Bokeh would fetch the models anew, and cannot: their arrays do not come with them. The
  // address names page and run, so the page comes back by being loaded again, once the server answers.
  let leaving = false
  window.addEventListener("pagehide", () => { leaving = true })
  const come_back = async () => {
    const something = document.querySelector("script[src]").src  // a page of the app itself would begin a session
    while (!leaving) {
      const answer = await fetch(something, {method: "HEAD", cache: "no-store"}).catch(() => null)
      if (answer?.ok && !leaving) { location.reload(); return }
      await new Promise(done => setTimeout(done, 1000))
    }
  }
  view.model.document.on_event("connection_lost", come_back)
  const style = document.createElement("style")
  document.head.append(style)
  const dress = () => {
    const {background, ink, grid, muted, font} = model.look
    style.textContent = `.bk-Tooltip.bk-Tooltip { --tooltip-color: ${background}; --tooltip-text: ${ink};
      --tooltip-border: ${grid}; --tooltip-arrow-color: ${background}; --tooltip-arrow-inner-color: ${background};
      background: ${background}; color: ${ink}; border: 1px solid ${grid}; border-radius: 6px; padding: 6px 9px;
      font: 12px/1.4 ${font}; }`
  }
  model.on("look", dress)
  dress()
  const call = () => { document.title = model.title }
  model.on("title", call)
  call()
  // a button wants the space bar only, a slider the arrows
  const taken = (el, key) => el.isContentEditable || ["TEXTAREA", "SELECT"].includes(el.tagName) ||
    (el.tagName === "INPUT" && !["checkbox", "radio", "range"].includes(el.type)) ||
    ["listbox", "menu", "combobox", "dialog"].includes(el.getAttribute?.("role")) ||
    (key === " " && (["BUTTON", "INPUT", "SUMMARY"].includes(el.tagName) || el.getAttribute?.("role") === "button")) ||
    (key.startsWith("Arrow") && (el.type === "range" || ["slider", "tab"].includes(el.getAttribute?.("role"))))
  const busy = (event) => event.composedPath().some((el) => taken(el, event.key))
  const hear = (event) => {
    if (!model.listens || !KEYS.includes(event.key)) return
    if (event.ctrlKey || event.metaKey || event.altKey || busy(event)) return
    event.preventDefault()
    model.key = event.key
    model.strokes += 1
  }
  window.addEventListener("keydown", hear)
  model.on("remove", () => { window.removeEventListener("keydown", hear); style.remove() })
}
"""
