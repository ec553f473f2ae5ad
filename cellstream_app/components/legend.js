// A legend whose entries are buttons: a name picks its cells, with shift or ctrl adds them to what is picked; the swatch
// beside it opens the browser's own colour chooser. Names come from files: they are only ever set as text.

const STYLE = `
  .legend { display: flex; flex-direction: column; gap: 1px; max-height: 264px; overflow-y: auto; scrollbar-width: thin;
    font: 13px/1.35 var(--font); color: inherit; }
  .entry { display: flex; align-items: center; border-radius: 5px; }
  .entry:hover, .entry.picked { background: color-mix(in srgb, currentColor 9%, transparent); }
  .entry.faint { opacity: 0.45; }
  button, .swatch { all: unset; box-sizing: border-box; cursor: pointer; }
  button { flex: 1; min-width: 0; display: flex; align-items: center; gap: 8px; padding: 3px 6px 3px 2px; border-radius: 5px; }
  .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .count { margin-left: auto; opacity: 0.7; font-variant-numeric: tabular-nums; }
  .swatch { position: relative; flex: none; width: 24px; height: 22px; border-radius: 5px; }
  .swatch::after { content: ""; position: absolute; left: 6px; top: 5px; width: 12px; height: 12px; border-radius: 50%;
    background: var(--colour); }
  button .swatch { height: 16px; }
  button .swatch::after { top: 2px; }
  .swatch.editable:hover::after { outline: 2px solid color-mix(in srgb, currentColor 45%, transparent); outline-offset: 1px; }
  .swatch input { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0; cursor: pointer; margin: 0; }
  button:focus-visible, .swatch:focus-within { outline: 2px solid var(--accent, currentColor); outline-offset: -2px; }
`

function make(tag, name, parent) {
  const node = document.createElement(tag)
  node.className = name
  parent?.append(node)
  return node
}

export function render({model}) {
  const root = make("div", "legend"), style = document.createElement("style")
  style.textContent = STYLE
  root.setAttribute("role", "group")

  function draw() {
    root.replaceChildren(style)
    root.style.setProperty("--font", model.font)
    root.setAttribute("aria-label", "Legend: a name picks its cells")
    for (const {name, colour, count} of model.items) {
      const entry = make("div", "entry", root), button = make("button", "", null)
      // a colour that cannot be changed picks the cells, as its name does
      const swatch = model.editable ? make("label", "swatch editable", entry) : make("span", "swatch", button)
      entry.append(button)
      swatch.style.setProperty("--colour", colour)
      if (model.editable) {
        const input = make("input", "", swatch)
        Object.assign(input, {type: "color", value: colour, title: `Change the colour of ${name}`})
        input.setAttribute("aria-label", `Colour of ${name}`)
        input.addEventListener("change", () => model.send_msg({paint: name, colour: input.value}))
      }
      button.type = "button"
      button.title = `Select these cells: ${name}`
      make("span", "name", button).textContent = name
      if (count !== null) make("span", "count", button).textContent = count.toLocaleString("en-US")
      button.addEventListener("click", event => model.send_msg({pick: name, add: event.shiftKey || event.ctrlKey || event.metaKey}))
    }
    light()
  }

  function light() {
    const some = model.picked.length > 0
    ;[...root.querySelectorAll(".entry")].forEach((entry, i) => {
      const picked = model.picked.includes(model.items[i].name)
      entry.classList.toggle("picked", picked)
      entry.classList.toggle("faint", some && !picked)
      entry.querySelector("button").setAttribute("aria-pressed", String(picked))
    })
  }

  model.on(["items", "editable"], draw)
  model.on("picked", light)
  draw()
  return root
}
