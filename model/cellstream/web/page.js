// A result to explore, from the arrays in this file: what a reader does, and what it does.
// Words from data are a stranger's: they are only ever set as text.

// ---- knobs ---------------------------------------------------------------------------------------------------------
const TRAIL = 0.12          // length of the trails as a share of the whole time
const PARTICLE = 4.5        // diameter in pixels where the view has COMFORTABLE pixels
const COMFORTABLE = 640     // pixels of the view that holds all cells, as the side of a square, where dots have their size
const BEHIND = 0.5, ON_GROWTH = 0.75, ALONE = 0.85  // opacity of cells behind particles, there on the map, and alone
const UNLIT = 0.2           // opacity of cells that the legend fades, as a share
const NEAREST = 0.5, DEEPEST = 400  // zoom, relative to the view that holds all cells
const WHEEL = 0.0016        // zoom of a turn of the wheel by a pixel
const BUTTON = 1.5          // zoom of a button
const STRIDES = 50          // of the arrow keys through the whole time
const REACH = 9             // pixels within which the pointer finds a cell
const TWICE = 320           // milliseconds between the two clicks of a double click
const SOME = 12, FEW = 6    // values that the pointer reads, on a wide stage and on a narrow one
const NARROW = 500          // pixels
const SHORT = 12            // letters of a time point's name below the slider; longer ones are told as numbers
const CLICK = "A click on a name shows only its cells; with shift, also others."
const TAP = "A tap on a name shows only its cells."
const PICTURE = 2           // pixels of a saved picture for a pixel of the screen, at least

// ---- the page ------------------------------------------------------------------------------------------------------
async function main() {
  const told = JSON.parse($("told").textContent), stage = $("stage")
  const store = new Store(await unpack($("arrays").textContent))
  $("told").remove()
  $("arrays").remove()

  const places = {x: store.axis(told.cells.x), y: store.axis(told.cells.y)}, n = places.x.values.length
  const colours = told.colours.map(c => new (c.kind === "names" ? Names : Numbers)(c, store))
  const names = told.names ? store.json(told.names) : null
  const marks = told.marks, first = marks[0].time, last = marks.at(-1).time
  const found = new Places(places)
  const at = {now: first, resting: 0}
  const view = {x: 0, y: 0, zoom: 1}  // middle, and zoom relative to the view that holds all cells
  let playing = false, before = null, request = 0, drawn = {}, colour = colours[told.first], hovered = -1

  // the layers

  const sorry = []
  let cells
  try { cells = new Cells($("cells"), places) } catch { cells = new PlainCells($("cells"), places) }
  let flow = null
  try { flow = new Flow($("flow")) } catch (error) { sorry.push(error.message) }
  const particles = read_particles()
  const {fields} = told, moments = fields.at.map(() => null)
  const growth_palette = Uint8Array.from(fields.palette.flatMap(bytes_of))

  function read_particles() {
    const p = told.particles, x = store.scale(p.x), y = store.scale(p.y), paths = new Float32Array(2 * x.length)
    for (let i = 0; i < x.length; i++) { paths[2*i] = x[i]; paths[2*i + 1] = y[i] }
    return {frames: p.times.length, particles: p.n, paths, log_w: store.scale(p.log_w), times: p.times,
      starts: store.raw(p.starts), ends: store.raw(p.ends)}
  }

  // Streamlines and growth of a moment, 0 the whole course; unpacked when first asked for.
  function moment(k) {
    const f = fields.at[k]
    return moments[k] ??= {
      lines: {x: store.scale(f.x), y: store.scale(f.y), strength: store.raw(f.strength), lengths: f.lengths},
      grid: {growth: Array.from(store.raw(f.growth)), cover: store.raw(f.cover)},
      picture: null,
    }
  }
  function which_moment() {
    if ($("when").querySelector(":checked").value === "course") return 0
    return 1 + fields.times.reduce((best, t, i) => Math.abs(t - at.now) < Math.abs(fields.times[best] - at.now) ? i : best, 0)
  }

  // the view

  const size = () => ({width: stage.clientWidth, height: stage.clientHeight})
  function per_pixel({width, height}) {  // units of the plane
    const [x0, x1, y0, y1] = told.home
    return Math.max((x1 - x0) / width, (y1 - y0) / height) / view.zoom
  }
  function shown(box) {  // [x0, x1, y0, y1]
    const k = per_pixel(box), w = box.width * k / 2, h = box.height * k / 2
    return [view.x - w, view.x + w, view.y - h, view.y + h]
  }
  function fit() {
    const [x0, x1, y0, y1] = told.home
    Object.assign(view, {x: (x0 + x1) / 2, y: (y0 + y1) / 2, zoom: 1})
    schedule()
  }
  function move(dx, dy) {  // by css pixels
    const k = per_pixel(size())
    view.x -= dx * k
    view.y += dy * k
    schedule()
  }
  function zoom(factor, px, py) {  // about a place in css pixels from the upper left
    const box = size(), k = per_pixel(box), dx = px - box.width / 2, dy = box.height / 2 - py
    view.zoom = clamp(view.zoom * factor, NEAREST, DEEPEST)
    const change = k - per_pixel(box)
    view.x += dx * change
    view.y += dy * change
    schedule()
  }
  const zoom_middle = factor => { const {width, height} = size(); zoom(factor, width / 2, height / 2) }
  function bigger(box) {
    const [x0, x1, y0, y1] = told.home
    return clamp(Math.sqrt(Math.sqrt((x1 - x0) * (y1 - y0)) / per_pixel(box) / view.zoom / COMFORTABLE), 0.55, 2)
  }
  function dot({width, height}) {  // diameter of a cell in css pixels
    return clamp(2.5 + 150 / Math.sqrt(n), 3, 9) * bigger({width, height}) * clamp(view.zoom ** 0.3, 1, 2.5)
  }

  // the look

  const look = () => {
    const style = getComputedStyle(document.documentElement), of = name => style.getPropertyValue(`--${name}`).trim()
    return {dark: document.documentElement.dataset.theme === "dark", background: of("background"), ink: of("ink"), muted: of("muted"), accent: of("accent"), font: of("font")}
  }

  function paint_cells() {
    const paint = new Uint8Array(4 * n), faded = [], below = [], above = [], grey = bytes_of(UNKNOWN)
    for (let i = 0; i < n; i++) {
      const lit = colour.lit(i), [r, g, b] = lit ? colour.colour(i) : grey
      paint.set([r, g, b, lit ? 255 : 255 * UNLIT], 4 * i)
      ;(lit ? colour.first(i) ? below : above : faded).push(i)
    }
    cells.paint(paint, Uint32Array.from([...[faded, below, above].flat()]))
    drawn = {}
  }

  function paint_particles() {
    if (!flow) return
    const by = $("particle-colour").value, one = bytes_of(look().accent), paint = new Uint8Array(4 * particles.particles)
    for (let i = 0; i < particles.particles; i++) {
      const cell = by === "one" ? -1 : particles[by][i]
      const [r, g, b] = cell < 0 ? one : colour.colour(cell)
      paint.set([r, g, b, cell < 0 || colour.lit(cell) ? 255 : 255 * UNLIT], 4 * i)
    }
    try { flow.load({...particles, colours: paint}) } catch (error) { sorry.push(error.message); flow = null }
    $("sorry").textContent = sorry.join(" ")
  }

  // Draws what has changed since it was drawn last; `ratio` and `all` are for a picture that is saved.
  function draw(ratio = window.devicePixelRatio || 1, all = false) {
    const box = size(), now_shown = shown(box), theme = look(), k = which_moment(), larger = bigger(box)
    if (!box.width || !box.height) return
    const frame = {...box, ratio, view: now_shown}, same = JSON.stringify([frame, theme.dark])
    const anew = (name, key) => { const is = all || drawn[name] !== same + key; drawn[name] = same + key; return is }
    const growth = $("show-growth").checked, streams = $("show-streams").checked, flows = $("show-particles").checked && flow
    if (anew("growth", growth && k)) {
      const m = growth ? moment(k) : null
      if (m) m.picture ??= growth_picture(m.grid, {...fields, palette: growth_palette})
      draw_growth($("growth"), m?.picture, fields.view, frame)
    }
    const opacity = flows && colour.chosen?.size ? ALONE : flows ? growth ? ON_GROWTH : BEHIND : ALONE
    if (anew("cells", opacity)) cells.draw({...frame, size: dot(box), opacity})
    if (anew("streams", streams && k)) {
      draw_streams($("streams"), streams ? moment(k).lines : null, fields.head_at, {...frame, ink: theme.ink, background: theme.background, thick: larger})
    }
    $("flow").style.visibility = flows ? "visible" : "hidden"
    const trail = $("show-trails").checked ? TRAIL * (last - first) : 0
    if (flows && anew("flow", [at.now, trail])) {
      flow.draw({...frame, time: at.now, trail, size: PARTICLE * larger, dark: theme.dark, background: rgb(theme.background)})
    }
  }

  // time

  const clock_style = new CSSStyleSheet()  // made by a script, as the clock's own rules are; page.css has the last word
  clock_style.replaceSync(`@layer clock { ${CLOCK_STYLE} }`)
  document.adoptedStyleSheets = [clock_style]
  const clock = make_clock(stage), slider = $("time")
  Object.assign(slider, {min: first, max: last, value: first})
  const mark_buttons = marks.map(mark => {
    const made = node("button", "", "", $("marks"))
    made.type = "button"
    node("span", mark.label.length > SHORT ? `${number(mark.time)} ${told.unit}` : mark.label, "", made)
    made.title = `${mark.label}: ${whole(mark.cells)} cells were measured`
    made.setAttribute("aria-label", `Go to ${mark.label}, ${whole(mark.cells)} cells measured`)
    made.style.left = `${100 * (mark.time - first) / (last - first || 1)}%`
    made.addEventListener("click", () => go_to(mark.time))
    return made
  })
  // Labels at the ends stay above the slider; those that would lie on each other are left out, and their ticks stay.
  function thin_marks() {
    const track = slider.getBoundingClientRect()
    let free = -Infinity
    for (const made of mark_buttons) {
      made.classList.remove("bare")
      made.style.removeProperty("--aside")
      const {left, width} = made.getBoundingClientRect(), aside = clamp(left, track.left, Math.max(track.right - width, track.left)) - left
      const fits = left + aside >= free
      made.classList.toggle("bare", !fits)
      if (!fits) continue
      made.style.setProperty("--aside", `${aside}px`)
      free = left + aside + width
    }
  }
  function show_time() {
    clock.show(at.now, {marks, unit: told.unit, first, last})
    if (+slider.value !== at.now) slider.value = at.now
    slider.style.setProperty("--done", `${100 * (at.now - first) / (last - first || 1)}%`)
    slider.setAttribute("aria-valuetext", clock.root.innerText.replace(/\s*\n\s*/g, ", "))
    mark_buttons.forEach((made, i) => made.setAttribute("aria-current", String(Math.abs(marks[i].time - at.now) <= NEAR_MARK * (last - first))))
  }
  function go_to(time) {
    play(false)
    Object.assign(at, {now: clamp(time, first, last), resting: 0})
    schedule()
  }
  function play(on) {
    playing = on && last > first
    if (playing && at.now >= last) at.now = first
    before = null
    at.resting = 0
    $("play").textContent = playing ? "Pause" : "Play"
    schedule()
  }

  function frame(stamp) {
    request = 0
    // a hidden tab gets no frames; after a pause of any kind the time goes on from where it was
    if (playing && before !== null) {
      const seconds = Math.min((stamp - before) / 1000, 0.1)
      play_on(at, seconds, {first, last, speed: +$("speed").value, marks, loop: true})
    }
    before = playing ? stamp : null
    draw()
    show_time()
    show_tip()
    if (playing) schedule()
  }
  function schedule() { request ||= requestAnimationFrame(frame) }

  // the legend

  function show_key() {
    const key = $("key")
    key.replaceChildren()
    if (colour instanceof Numbers) return scale(key, colour)
    const list = node("div", "", "names", key)
    list.setAttribute("role", "group")
    list.setAttribute("aria-label", `${colour.label}: a name shows its cells and fades the others`)
    colour.names.forEach((name, code) => {
      if (!colour.counts[code]) return
      const made = node("button", "", "", list)
      made.type = "button"
      made.title = name
      node("span", "", "dot", made).style.background = colour.colours[code]
      node("span", name, "name", made)
      node("span", whole(colour.counts[code]), "count", made)
      made.addEventListener("click", event => choose(code, event.shiftKey || event.ctrlKey || event.metaKey))
    })
    const all = node("button", "Show all", "all", key), hint = node("p", matchMedia("(pointer: coarse)").matches ? TAP : CLICK, "hint", key)
    all.type = "button"
    all.addEventListener("click", () => choose(-1))
    const codes = colour.names.map((_, code) => code).filter(code => colour.counts[code])
    const light = () => {
      const some = colour.chosen.size > 0
      list.classList.toggle("some", some)
      all.hidden = !some
      hint.hidden = some
      ;[...list.children].forEach((made, i) => made.setAttribute("aria-pressed", String(colour.chosen.has(codes[i]))))
    }
    function choose(code, also = false) {
      const was = colour.chosen.has(code)
      if (!also) colour.chosen.clear()
      if (code >= 0) colour.chosen[was ? "delete" : "add"](code)
      light()
      repaint()
    }
    light()
  }

  function scale(parent, {title, bytes, limits, middle = "", explained = "", unknown = false}) {
    const root = node("div", "", "scale", parent)
    node("div", title, "", root)
    const bar = node("canvas", "", "", root)
    Object.assign(bar, {width: bytes.length, height: 1})
    bar.setAttribute("role", "img")
    bar.setAttribute("aria-label", `${title}: from ${number(limits[0])} to ${number(limits[1])}`)
    bar.getContext("2d").putImageData(new ImageData(Uint8ClampedArray.from(bytes.flat()), bytes.length, 1), 0, 0)
    const ends = node("div", "", "ends", root)
    for (const text of [number(limits[0]), middle, number(limits[1])]) node("span", text, "", ends)
    if (unknown) {
      const row = node("div", "", "unknown", root)
      node("span", "", "dot", row).style.background = UNKNOWN
      node("span", "no value", "", row)
    }
    if (explained) node("p", explained, "hint", root)
  }

  function repaint() { paint_cells(); paint_particles(); schedule() }

  // the pointer

  const pointers = new Map()
  let spread = 0, travelled = 0, clicked = {when: -Infinity, x: 0, y: 0}, pointer = null
  const place = event => { const box = stage.getBoundingClientRect(); return {x: event.clientX - box.left - stage.clientLeft, y: event.clientY - box.top - stage.clientTop} }
  const on_tools = event => event.target.closest?.(".corner")

  stage.addEventListener("pointerdown", event => {
    if (on_tools(event) || event.button) return
    stage.setPointerCapture(event.pointerId)
    pointers.set(event.pointerId, place(event))
    travelled = pointers.size > 1 ? Infinity : 0
    spread = 0
    stage.classList.add("moving")
  })
  stage.addEventListener("pointermove", event => {
    const here = place(event), was = pointers.get(event.pointerId)
    if (!was) { pointer = event.pointerType === "touch" || on_tools(event) ? null : here; return find() }
    pointers.set(event.pointerId, here)
    travelled += Math.hypot(here.x - was.x, here.y - was.y)
    if (pointers.size === 1) {
      pointer = null
      find()
      return move(here.x - was.x, here.y - was.y)
    }
    const [a, b] = [...pointers.values()], now = Math.hypot(a.x - b.x, a.y - b.y), middle = {x: (a.x + b.x) / 2, y: (a.y + b.y) / 2}
    move((here.x - was.x) / 2, (here.y - was.y) / 2)
    if (spread) zoom(now / spread, middle.x, middle.y)
    spread = now
  })
  const released = event => {
    if (!pointers.delete(event.pointerId)) return
    spread = 0
    stage.classList.toggle("moving", pointers.size > 0)
    if (event.type !== "pointerup" || travelled > 6) return
    const here = place(event)
    if (event.timeStamp - clicked.when < TWICE && Math.hypot(here.x - clicked.x, here.y - clicked.y) < 24) {
      clicked.when = -Infinity
      return fit()
    }
    clicked = {when: event.timeStamp, ...here}
    pointer = here
    find()
  }
  stage.addEventListener("pointerup", released)
  stage.addEventListener("pointercancel", released)
  stage.addEventListener("pointerleave", event => { if (event.pointerType !== "touch") { pointer = null; find() } })
  stage.addEventListener("wheel", event => {
    event.preventDefault()
    const here = place(event), pixels = event.deltaY * [1, 16, 400][event.deltaMode]
    zoom(Math.exp(-clamp(pixels, -400, 400) * WHEEL), here.x, here.y)
  }, {passive: false})

  // Where a cell lies on the stage, in css pixels; and the way back to shares of the box.
  function geometry() {
    const box = size(), {scale: by, shift} = to_pixels(places, shown(box), box.width, box.height)
    return {
      of: i => ({x: places.x.values[i] / 65534 * by[0] + shift[0], y: box.height - places.y.values[i] / 65534 * by[1] - shift[1]}),
      back: ({x, y}) => [(x - shift[0]) / by[0], (box.height - y - shift[1]) / by[1]],
      by,
    }
  }
  function find() {
    const was = hovered
    if (pointer) {
      const {back, by} = geometry(), [u, v] = back(pointer)
      hovered = found.near(u, v, ...by, Math.max(REACH, dot(size()) / 2), cell => colour.lit(cell))
    } else hovered = -1
    if (hovered !== was) { fill_tip(); schedule() }
  }
  function fill_tip() {
    const tip = $("tip")
    tip.replaceChildren()
    if (hovered < 0) return
    const list = node("dl", "", "", tip)
    if (names) node("dt", names[hovered], "name", list)
    for (const c of [colour, ...colours.filter(other => other !== colour)].slice(0, stage.clientWidth < NARROW ? FEW : SOME)) {
      node("dt", c.label, "", list)
      node("dd", c.text(hovered), "", list)
    }
  }
  function show_tip() {
    const tip = $("tip"), ring = $("ring")
    tip.hidden = ring.hidden = hovered < 0
    if (hovered < 0) return
    const {x, y} = geometry().of(hovered), {width, height} = size(), room = 14
    Object.assign(ring.style, {left: `${x}px`, top: `${y}px`})
    const left = x + room + tip.offsetWidth > width ? x - room - tip.offsetWidth : x + room
    tip.style.left = `${clamp(left, 4, Math.max(width - tip.offsetWidth - 4, 4))}px`
    tip.style.top = `${clamp(y + room, 4, Math.max(height - tip.offsetHeight - 4, 4))}px`
  }

  // a picture to keep: what is on the stage, the moment, and what the colours mean

  function picture() {
    const ratio = Math.max(window.devicePixelRatio || 1, PICTURE), {width, height} = size(), theme = look()
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize)
    const rows = colour instanceof Names ? colour.names.map((_, code) => code).filter(code => colour.counts[code]) : []
    const fitting = Math.max(Math.floor((height - 5.2 * rem) / (1.5 * rem)), 1)
    const side = 17 * rem, made = document.createElement("canvas")
    Object.assign(made, {width: Math.round((width + side) * ratio), height: Math.round(height * ratio)})
    const pen = made.getContext("2d")
    pen.scale(ratio, ratio)
    pen.fillStyle = theme.background
    pen.fillRect(0, 0, width + side, height)
    draw(ratio, true)
    for (const id of ["growth", "cells", "streams", "flow"]) {
      if ($(id).style.visibility !== "hidden" && $(id).width) pen.drawImage($(id), 0, 0, width, height)
    }
    const write = (text, x, y, {weight = 400, size: height_of = 1, tint = theme.ink, room = side - 2 * rem, align = "left"} = {}) => {
      pen.font = `${weight} ${height_of * rem}px ${theme.font}`
      pen.fillStyle = tint
      pen.textAlign = align
      let words = text
      while (words.length > 1 && pen.measureText(words === text ? text : `${words}…`).width > room) words = words.slice(0, -1)
      pen.fillText(words === text ? text : `${words}…`, x, y)
    }
    const x = width + 0.5 * rem
    write(told.title, x, 1.8 * rem, {weight: 650, size: 1.1})
    write(colour.kind === "names" ? colour.label : colour.title, x, 3.6 * rem, {weight: 600, size: 0.9})
    rows.slice(0, fitting).forEach((code, i) => {
      const y = 5.2 * rem + 1.5 * rem * i, faint = colour.chosen.size && !colour.chosen.has(code)
      pen.globalAlpha = faint ? 0.35 : 1
      pen.fillStyle = colour.colours[code]
      pen.beginPath()
      pen.arc(x + 0.4 * rem, y - 0.33 * rem, 0.38 * rem, 0, 7)
      pen.fill()
      const last_one = i === fitting - 1 && rows.length > fitting
      write(last_one ? `and ${rows.length - fitting + 1} more` : colour.names[code], x + 1.2 * rem, y, {size: 0.92, room: side - 7 * rem})
      if (!last_one) write(whole(colour.counts[code]), x + side - 1.5 * rem, y, {size: 0.92, tint: theme.muted, align: "right"})
      pen.globalAlpha = 1
    })
    if (colour instanceof Numbers) {
      const wide = side - 2.5 * rem
      colour.bytes.forEach(([r, g, b], i, all) => {
        pen.fillStyle = `rgb(${r} ${g} ${b})`
        pen.fillRect(x + wide * i / all.length, 4.4 * rem, wide / all.length + 0.5, 0.6 * rem)
      })
      write(number(colour.limits[0]), x, 6.1 * rem, {size: 0.85, tint: theme.muted})
      write(number(colour.limits[1]), x + wide, 6.1 * rem, {size: 0.85, tint: theme.muted, align: "right"})
    }
    const [time, between = ""] = clock.root.innerText.split("\n").filter(Boolean)
    write(time ?? "", rem, height - 2.2 * rem, {weight: 600, size: 1.5})
    write(between, rem, height - 0.9 * rem, {size: 0.86, tint: theme.muted, room: width})
    drawn = {}
    schedule()
    return made
  }
  function save() {
    picture().toBlob(blob => {
      const link = node("a"), address = URL.createObjectURL(blob)
      Object.assign(link, {href: address, download: `${told.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "cells"}.png`})
      link.click()
      setTimeout(() => URL.revokeObjectURL(address), 60_000)
    }, "image/png")
  }

  // words

  function dress(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light"
    $("theme").textContent = dark ? "Light" : "Dark"
    $("theme").setAttribute("aria-pressed", String(dark))
    paint_particles()
    schedule()
  }
  function recolour(index) {
    colour = colours[index]
    hovered = -1
    fill_tip()
    $("cells").setAttribute("aria-label", `${told.title}: ${whole(n)} cells in the plane of the embedding, coloured by ${colour.label}`)
    show_key()
    repaint()
  }
  function fill_about() {
    const {facts, method, methods, cite, settings} = told.about, root = $("about-text")
    node("p", method, "", root)
    const list = node("dl", "", "", root)
    for (const [name, value] of facts) { node("dt", name, "", list); node("dd", value, "", list) }
    node("h3", "To cite", "", root)
    node("p", cite, "", root)
    for (const [name, text, tag] of [["How it was made, in full", methods, "p"], ["All settings", settings, "pre"]]) {
      if (!text) continue
      const details = node("details", "", "", root)
      node("summary", name, "", details)
      node(tag, text, "", details)
    }
  }

  // the controls

  const groups = new Map()
  colours.forEach((c, i) => {
    const group = groups.get(c.group) ?? groups.set(c.group, Object.assign(node("optgroup", "", "", $("colour")), {label: c.group})).get(c.group)
    Object.assign(node("option", c.label, "", group), {value: String(i), selected: i === told.first})
  })
  const part = n < told.total ? `${whole(n)} of ${whole(told.total)} cells` : `${whole(n)} cells`
  $("summary").textContent = `${part} · ${marks.length} time points · velocity and growth learned by CellStream`
  const growth_bytes = fields.palette.map(bytes_of)
  scale($("growth-key"), {title: `growth, doublings per ${told.rate_unit}`, bytes: growth_bytes, limits: [-fields.limit, fields.limit], middle: "0"})
  fill_about()

  $("colour").addEventListener("change", event => recolour(+event.target.value))
  $("particle-colour").addEventListener("change", () => { paint_particles(); drawn = {}; schedule() })
  for (const id of ["show-particles", "show-trails", "show-streams"]) $(id).addEventListener("change", schedule)
  $("show-growth").addEventListener("change", event => { $("growth-key").hidden = !event.target.checked; schedule() })
  $("when").addEventListener("change", schedule)
  slider.addEventListener("input", () => go_to(+slider.value))
  $("play").addEventListener("click", () => play(!playing))
  $("fit").addEventListener("click", fit)
  $("nearer").addEventListener("click", () => zoom_middle(BUTTON))
  $("farther").addEventListener("click", () => zoom_middle(1 / BUTTON))
  $("theme").addEventListener("click", () => dress(document.documentElement.dataset.theme !== "dark"))
  $("save").addEventListener("click", save)
  $("open-about").addEventListener("click", () => $("about").showModal())
  $("about").addEventListener("click", event => { if (event.target === $("about")) $("about").close() })

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("about").open) return
    const on = event.target, own = on.matches?.("select, input[type=radio]"), presses = own || on.matches?.("button, input[type=checkbox], summary")
    const stride = (last - first) / STRIDES
    const act = {
      " ": presses ? null : () => play(!playing),
      ArrowRight: own ? null : () => go_to(at.now + stride),
      ArrowLeft: own ? null : () => go_to(at.now - stride),
      Home: own ? null : () => go_to(first),
      End: own ? null : () => go_to(last),
      f: own ? null : fit,
      "+": own ? null : () => zoom_middle(BUTTON),
      "-": own ? null : () => zoom_middle(1 / BUTTON),
      Escape: colour.chosen?.size ? () => { colour.chosen.clear(); show_key(); repaint() } : null,
    }[event.key]
    if (!act) return
    event.preventDefault()
    act()
  })
  document.addEventListener("visibilitychange", () => { before = null; schedule() })
  for (const [id, of] of [["cells", cells], ["flow", flow]]) {
    $(id).addEventListener("webglcontextlost", event => event.preventDefault())
    $(id).addEventListener("webglcontextrestored", () => { of?.build?.(); drawn = {}; schedule() })
  }
  new ResizeObserver(() => { thin_marks(); schedule() }).observe(stage)

  $("sorry").textContent = sorry.join(" ")
  fit()
  dress(matchMedia("(prefers-color-scheme: dark)").matches)
  recolour(told.first)
  thin_marks()
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches)
  document.documentElement.dataset.ready = "yes"
}

main().catch(error => { $("sorry").textContent = error.message })
