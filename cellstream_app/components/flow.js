// The app's canvas of particles, over a Bokeh figure: what knows Panel and Bokeh. What draws, and the clock, are
// `cellstream/web/flow.js`, which is put before this file.

const SEND_EVERY = 0.25     // seconds between two reports of the time to the server

// ---- Panel ---------------------------------------------------------------------------------------------------------
function shape_of(array) { return array?.shape ?? [array?.length ?? 0] }

// The arrays of the model, or null while they do not fit together (they arrive one by one).
function read_data(model) {
  const {paths, log_w, times, colours} = model
  if (!paths || !log_w || !times || !colours) return null
  const [frames, particles, two] = shape_of(paths), [rows, channels] = shape_of(colours)
  const fits = two === 2 && shape_of(log_w)[0] === frames && shape_of(log_w)[1] === particles && times.length === frames
  if (!fits || rows !== particles || channels !== 4 || frames < 1) return null
  return {frames, particles, paths, log_w, times, colours: new Uint8Array(colours)}
}

// Where the figure's frame lies in `root`, and which part of the plane it shows. Null before it is laid out.
function read_frame(figure_id, root) {
  const figure = window.Bokeh?.index?.find_one_by_id?.(figure_id)
  const box = figure?.frame?.bbox
  if (!box || !figure.el.isConnected) return null
  const outer = figure.el.getBoundingClientRect(), inner = root.getBoundingClientRect()
  const {x_range: x, y_range: y} = figure.model
  // Bokeh shifts all it draws by half a pixel to the right and down
  const dx = 0.5 * (x.end - x.start) / box.width, dy = 0.5 * (y.end - y.start) / box.height
  return {
    left: outer.left - inner.left + box.left, top: outer.top - inner.top + box.top,
    width: box.width, height: box.height, view: [x.start - dx, x.end - dx, y.start + dy, y.end + dy],
  }
}

export function render({model}) {
  const root = make("div", "flow"), style = make("style", "", root)
  style.textContent = CLOCK_STYLE
  const canvas = make("canvas", "", root), clock = make_clock(root), sorry = make("div", "sorry", root)
  let flow = null, stale = true, request = 0, before = null, sent_at = 0
  const at = {now: model.time, resting: 0}
  let sent = []  // times lately reported: when they come back they are echoes, not wishes

  const attempt = action => {
    try { return action() } catch (error) { sorry.textContent = error.message; return null }
  }
  const ends = () => flow?.data ? [flow.data.times[0], flow.data.times[flow.data.frames - 1]] : [at.now, at.now]
  const report = () => {
    sent = [...sent.slice(-12), at.now]
    sent_at = performance.now()
    if (model.time !== at.now) model.time = at.now
  }

  function advance(seconds) {
    const [first, last] = ends()
    const happened = play_on(at, seconds, {first, last, speed: model.speed, marks: model.marks, loop: model.loop})
    if (happened === "ends") model.playing = false
    else if (happened === "begins" || happened === "arrives") report()
    else if (happened === "moves" && performance.now() - sent_at > 1000 * SEND_EVERY) report()
  }

  // Tells canvases that follow this one what time it is.
  function lead() {
    const times = window.cellstream_times ??= {}
    if (model.follows || times[model.frame_id] === at.now) return
    times[model.frame_id] = at.now
    window.dispatchEvent(new CustomEvent("cellstream-time", {detail: {id: model.frame_id}}))
  }

  function paint(stamp) {
    request = 0
    if (stale) {
      const data = read_data(model)
      if (data && flow) { attempt(() => flow.load(data)); stale = false }
    }
    const box = model.frame_id
      ? read_frame(window.cellstream_frames?.[model.frame_id], root)
      : {left: 0, top: 0, width: root.clientWidth, height: root.clientHeight, view: model.view}
    const visible = box && box.width > 0 && box.height > 0 && root.offsetParent !== null
    const led = model.follows ? window.cellstream_times?.[model.follows] : undefined
    if (led !== undefined) at.now = Math.min(Math.max(led, ends()[0]), ends()[1])
    // a hidden tab gets no animation frames; after a pause of any kind the time goes on from where it was
    if (model.playing && visible && before !== null) advance(Math.min((stamp - before) / 1000, 0.1))
    before = model.playing ? stamp : null
    lead()
    canvas.style.visibility = clock.root.style.visibility = visible ? "visible" : "hidden"
    if (visible) {
      const {left, top, width, height, view} = box, [first, last] = ends()
      Object.assign(canvas.style, {left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px`})
      const {dark, background} = model.look
      const trail = model.trail * (last - first)
      flow?.draw({width, height, ratio: window.devicePixelRatio || 1, view, time: at.now, trail, size: model.point_size, dark, background: rgb(background)})
      clock.root.style.left = `${left + 10}px`
      clock.root.style.bottom = `${root.clientHeight - top - height + 10}px`
      clock.root.style.display = model.clock && flow?.data ? "" : "none"
      clock.show(at.now, {marks: model.marks, unit: model.unit, first, last})
    }
    if (model.playing) schedule()
  }
  function schedule() { if (!request) request = requestAnimationFrame(paint) }

  function dress() {
    for (const name of ["ink", "muted", "accent", "background", "grid", "font"]) root.style.setProperty(`--${name}`, model.look[name])
    schedule()
  }

  const heard = event => { if (event.detail?.id === model.frame_id) schedule() }
  const told = event => { if (event.detail?.id === model.follows) schedule() }
  const lost = event => { event.preventDefault(); canvas.style.visibility = "hidden" }
  const restored = () => { attempt(() => flow.build()); schedule() }
  const seen = () => { before = null; schedule() }
  const observer = new ResizeObserver(schedule)
  observer.observe(root)
  window.addEventListener("cellstream-frame", heard)
  window.addEventListener("cellstream-time", told)
  document.addEventListener("visibilitychange", seen)
  canvas.addEventListener("webglcontextlost", lost)
  canvas.addEventListener("webglcontextrestored", restored)

  model.on(["paths", "log_w", "times", "colours"], () => { stale = true; schedule() })
  model.on(["marks", "unit", "speed", "loop", "trail", "point_size", "view", "clock", "frame_id", "follows"], schedule)
  model.on("look", dress)
  // What comes together is heard one after the other: what is to be done is known once all of it has been.
  let timed = false, turned = false
  const heed = () => {
    const [first, last] = ends(), step = model.speed * (last - first) / PASS * SEND_EVERY
    const echo = model.playing && sent.some(t => Math.abs(t - model.time) < 0.6 * step)
    const wished = timed && model.time !== at.now && !echo
    if (wished) at.now = model.time
    if (turned) {
      if (model.playing && at.now >= last) at.now = first
      before = null
      if (!model.playing && !wished) report()
    }
    if (wished || turned) { at.resting = 0; schedule() }
    timed = turned = false
  }
  const hear = () => { if (!timed && !turned) queueMicrotask(heed) }
  model.on("playing", () => { hear(); turned = true })
  model.on("time", () => { hear(); timed = true })
  model.on("remove", () => {
    cancelAnimationFrame(request)
    observer.disconnect()
    window.removeEventListener("cellstream-frame", heard)
    window.removeEventListener("cellstream-time", told)
    document.removeEventListener("visibilitychange", seen)
    canvas.removeEventListener("webglcontextlost", lost)
    flow?.destroy()
  })

  flow = attempt(() => new Flow(canvas))
  dress()
  return root
}
