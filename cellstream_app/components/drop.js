// A file dropped anywhere on the window is sent to the server, part by part; each part waits until the one before it has
// arrived, so that a large file fills neither this memory nor the line.

const PART = 4 * 1024 * 1024  // bytes; a message of the websocket may have 20 MB
const INVITATION = "Drop the file to open it"
const STYLE = `
  .veil { position: fixed; inset: 0; z-index: 3000; display: none; align-items: center; justify-content: center;
    pointer-events: none; background: color-mix(in srgb, var(--background) 82%, transparent); color: var(--ink);
    font: 600 20px/1.4 var(--font); }
  .veil.on { display: flex; }
  .veil div { padding: 34px 52px; border: 2px dashed var(--accent); border-radius: 16px; background: var(--background); }
`

export function render({model}) {
  const root = document.createElement("div"), style = document.createElement("style"), veil = document.createElement("div")
  style.textContent = STYLE
  veil.className = "veil"
  const words = document.createElement("div")
  words.textContent = INVITATION
  veil.append(words)
  root.append(style, veil)
  const dress = () => { for (const name of ["ink", "accent", "background", "font"]) veil.style.setProperty(`--${name}`, model.look[name]) }
  let file = null, within = 0

  const carries = event => [...(event.dataTransfer?.types ?? [])].includes("Files")
  // a field made for files takes its own
  const theirs = event => event.composedPath().some(el => el.classList?.contains("filepond--root"))
  const send = async from => {
    words.textContent = `Receiving ${file.name}: ${file.size ? Math.floor(100 * from / file.size) : 100} %`
    veil.classList.add("on")
    const data = new Uint8Array(await file.slice(from, from + PART).arrayBuffer())
    model.send_msg({name: file.name, size: file.size, from, data})
  }
  const over = event => { if (carries(event)) { event.preventDefault(); veil.classList.toggle("on", !theirs(event) || file !== null) } }
  const enter = event => { if (carries(event)) within += 1 }
  const leave = event => { if (carries(event) && --within <= 0) { within = 0; veil.classList.toggle("on", file !== null) } }
  const drop = event => {
    within = 0
    if (file === null) veil.classList.remove("on")
    else return event.preventDefault()  // one at a time
    if (!carries(event) || theirs(event)) return
    event.preventDefault()
    if (event.dataTransfer.files.length) { file = event.dataTransfer.files[0]; send(0) }
  }
  const heard = {dragenter: enter, dragleave: leave, dragover: over, drop}
  for (const [name, hear] of Object.entries(heard)) window.addEventListener(name, hear)
  const done = () => { file = null; veil.classList.remove("on"); words.textContent = INVITATION }
  model.on("msg:custom", event => {
    const said = event.data ?? event
    if (said.done) done()
    else if (file && said.next !== undefined) send(said.next)
  })
  model.on("look", dress)
  model.on("remove", () => { for (const [name, hear] of Object.entries(heard)) window.removeEventListener(name, hear) })
  dress()
  return root
}
