// Hints for a first visit, one after the other, each beside what it speaks of. Shown once to a browser, which remembers;
// `again` shows them once more. They cover nothing that they speak of, and block nothing.

const KEY = "cellstream-tour"
const STYLE = `
  .cs-ring { position: fixed; z-index: 2000; pointer-events: none; border-radius: 10px; box-sizing: border-box;
    border: 2px solid var(--accent); box-shadow: 0 0 0 4px color-mix(in srgb, var(--accent) 22%, transparent);
    transition: all 0.25s ease; }
  .cs-hint { position: fixed; z-index: 2001; width: 292px; box-sizing: border-box; padding: 14px 16px 12px;
    border-radius: 10px; color: var(--ink); background: var(--background); border: 1px solid var(--grid);
    box-shadow: 0 8px 28px rgba(0, 0, 0, 0.22); font: 13px/1.45 var(--font); transition: left 0.25s ease, top 0.25s ease; }
  .cs-hint b { display: block; font-size: 14px; font-weight: 600; margin-bottom: 4px; }
  .cs-foot { display: flex; align-items: center; gap: 8px; margin-top: 10px; }
  .cs-count { color: var(--muted); margin-right: auto; font-size: 12px; }
  .cs-foot button { font: inherit; border-radius: 6px; padding: 4px 12px; cursor: pointer; border: 1px solid var(--grid);
    color: inherit; background: none; }
  .cs-foot button.next { color: var(--background); background: var(--accent); border-color: var(--accent); }
`

function make(tag, name, parent, text = "") {
  const node = document.createElement(tag)
  node.className = name
  node.textContent = text
  parent.append(node)
  return node
}

// the first visible element of a selector, whatever shadow it is in
function find(selector, root = document) {
  const seen = el => { const box = el.getBoundingClientRect(); return box.width > 4 && box.height > 4 }
  const here = [...root.querySelectorAll(selector)].find(seen)
  if (here) return here
  for (const el of root.querySelectorAll("*")) {
    const inside = el.shadowRoot && find(selector, el.shadowRoot)
    if (inside) return inside
  }
  return null
}

function remembered() { try { return localStorage.getItem(KEY) } catch { return "no memory" } }
function remember() { try { localStorage.setItem(KEY, "done") } catch { /* a browser that keeps nothing */ } }

export function render({model}) {
  const anchor = document.createElement("div")
  let at = -1, box = null, timer = 0

  function place() {
    const target = find(model.steps[at].find), ring = box.querySelector(".cs-ring"), hint = box.querySelector(".cs-hint")
    const to = target?.getBoundingClientRect(), {innerWidth: w, innerHeight: h} = window
    ring.style.display = to ? "" : "none"
    const high = hint.offsetHeight, wide = hint.offsetWidth, gap = 14
    let left = (w - wide) / 2, top = (h - high) / 2
    if (to) {
      Object.assign(ring.style, {left: `${to.left - 5}px`, top: `${to.top - 5}px`, width: `${to.width + 10}px`, height: `${to.height + 10}px`})
      const large = to.width > w / 2 && to.height > h / 3
      // to the right of it, else below, else above; in a corner of what is large
      if (large) [left, top] = [to.right - wide - gap, to.bottom - high - gap]
      else if (to.right + gap + wide < w && to.width < w / 2) [left, top] = [to.right + gap, to.top - 8]
      else if (to.bottom + gap + high < h) [left, top] = [to.left, to.bottom + gap]
      else [left, top] = [to.left, to.top - high - gap]
    }
    hint.style.left = `${Math.min(Math.max(left, 8), w - wide - 8)}px`
    hint.style.top = `${Math.min(Math.max(top, 8), h - high - 8)}px`
  }

  function close() {
    clearInterval(timer)
    box?.remove()
    box = null
    at = -1
    remember()
  }

  function show(i) {
    if (i >= model.steps.length) return close()
    if (!box) {
      box = make("div", "", document.body)
      make("style", "", box, STYLE)
      for (const name of ["ink", "muted", "accent", "background", "grid", "font"]) box.style.setProperty(`--${name}`, model.look[name])
      make("div", "cs-ring", box)
      const hint = make("div", "cs-hint", box)
      hint.setAttribute("role", "note")
      timer = setInterval(() => model.shown ? place() : close(), 300)  // what it points at may move
    }
    at = i
    const hint = box.querySelector(".cs-hint"), {title, text} = model.steps[i], last = i === model.steps.length - 1
    hint.replaceChildren()
    make("b", "", hint, title)
    make("div", "", hint, text)
    const foot = make("div", "cs-foot", hint)
    make("span", "cs-count", foot, `${i + 1} of ${model.steps.length}`)
    if (!last) make("button", "skip", foot, "Skip").onclick = close
    make("button", "next", foot, last ? "Done" : "Next").onclick = () => show(i + 1)
    place()
  }

  const dress = () => {
    if (box) for (const name of ["ink", "muted", "accent", "background", "grid"]) box.style.setProperty(`--${name}`, model.look[name])
  }
  const begin = () => { if (model.shown && at < 0 && !remembered()) show(0) }
  const key = event => { if (event.key === "Escape" && box) close() }
  window.addEventListener("keydown", key)
  model.on("shown", begin)
  model.on("look", dress)
  model.on("again", () => show(0))
  model.on("remove", () => { clearInterval(timer); box?.remove(); window.removeEventListener("keydown", key) })
  begin()
  return anchor
}
