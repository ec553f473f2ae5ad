"""A button that puts a text on the clipboard of whoever looks at the page."""

from __future__ import annotations

import panel_material_ui as pmui

# Browsers have a clipboard only on pages of this computer or of https; elsewhere the old way still works.
COPY = """
const held = text.data.value
const old_way = () => {
  const area = document.createElement("textarea")
  area.value = held
  area.style.position = "fixed"
  area.style.opacity = 0
  document.body.append(area)
  area.select()
  const done = document.execCommand("copy")
  area.remove()
  if (!done) throw new Error("no clipboard")
}
const say = (icon) => { button.data.icon = icon; setTimeout(() => { button.data.icon = "content_copy" }, 1500) }
const new_way = navigator.clipboard?.writeText(held) ?? Promise.reject()
const copied = new_way.catch(old_way)
copied.then(() => say("check"), () => say("error_outline"))
"""


def copy_button(label: str) -> tuple[pmui.Button, pmui.TextInput]:
    """The button, and what holds its text in ``value``; both have to be on the page."""
    text = pmui.TextInput(value="", visible=False, margin=0, width=0)
    button = pmui.Button(label=label, icon="content_copy", size="small", variant="outlined", margin=0)
    button.js_on_click(args={"text": text, "button": button}, code=COPY)
    return button, text
