// Particles that flow along given paths, drawn by WebGL 2. No outside code, no requests, no framework.
//
// One source for the app, whose component puts it over a Bokeh figure, and for pages that stand alone.
// Everything is a function of the time: positions are interpolated on the GPU, trails are redrawn from the paths. So a
// paused, scrubbed or zoomed picture is exactly the one that playing shows.

// ---- knobs ---------------------------------------------------------------------------------------------------------
const PASS = 14             // seconds from the first to the last frame at speed 1
const DWELL = 0.45          // seconds that playing rests on a measured time
const NEAR_MARK = 0.004     // share of the whole time within which the clock counts as "at" a measured time
const KNOTS = 28            // points of a trail
const KNOTS_MANY = 12       // the same where there are more than MANY particles
const MANY = 8000
const TRAIL_WIDTH = 0.62    // of a particle's diameter, at its head
const TRAIL_OPACITY = {light: 0.5, dark: 0.6}
const OPACITY = 0.9         // of a particle whose mass is what it was at the start
const SIZES = [0.4, 2.2]    // smallest and largest diameter, relative to the start; area follows mass in between
const RIM = 0.7             // pixels of background colour around a particle, so that it stands out from the cells
const RIM_OPACITY = {light: 0.6, dark: 0.4}
const GLOW_REACH = 3.4      // radius of the glow in radii of the particle
const GLOW = {light: [0.0, 0.3], dark: [0.14, 0.55]}  // strength without and with growth
const GLOW_FULL = 1.1       // growth of log mass at which the glow is full
const LIGHTEN = 0.16        // share of white in a particle on the dark theme
const GONE = -60           // log mass of a particle whose path is not a number
const FADE_FROM = 0.02      // mass at which a dying particle has gone

// ---- shaders -------------------------------------------------------------------------------------------------------
const COMMON = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D u_states;   // x, y, log mass since the start; particles of frame 0, of frame 1, …
uniform sampler2D u_colours;
uniform ivec2 u_count;        // frames, particles
uniform vec4 u_view;          // x0, x1, y0, y1 in data units
uniform vec2 u_box;           // width, height in device pixels
uniform float u_diameter;     // device pixels

vec4 texel(sampler2D data, int i) { int w = textureSize(data, 0).x; return texelFetch(data, ivec2(i % w, i / w), 0); }
vec3 frame(int f) { return texel(u_states, clamp(f, 0, u_count.x - 1) * u_count.y + gl_InstanceID).xyz; }

// A particle at frame number s: Catmull–Rom through its positions, a straight line through its log mass.
vec3 state(float s) {
  int f = clamp(int(floor(s)), 0, max(u_count.x - 2, 0));
  float u = clamp(s - float(f), 0.0, 1.0);
  vec3 a = frame(f - 1), b = frame(f), c = frame(f + 1), d = frame(f + 2);
  vec2 m0 = 0.5 * (c.xy - a.xy), m1 = 0.5 * (d.xy - b.xy);
  float u2 = u * u, u3 = u2 * u;
  vec2 xy = (2.0*u3 - 3.0*u2 + 1.0) * b.xy + (u3 - 2.0*u2 + u) * m0 + (3.0*u2 - 2.0*u3) * c.xy + (u3 - u2) * m1;
  return vec3(xy, mix(b.z, c.z, u));
}
vec2 pixel(vec2 xy) { return (xy - u_view.xz) / (u_view.yw - u_view.xz) * u_box; }
vec4 clip(vec2 p) { return vec4(2.0 * p / u_box - 1.0, 0.0, 1.0); }
const vec4 NOWHERE = vec4(3.0, 3.0, 0.0, 1.0);

float diameter(float log_mass) { return u_diameter * clamp(exp(0.5 * log_mass), ${SIZES[0]}, ${SIZES[1]}); }
float opacity(float log_mass) {
  float mass = exp(min(log_mass, 0.0));
  return pow(mass, 0.55) * smoothstep(${FADE_FROM}, ${4 * FADE_FROM}, mass);
}
`

const TRAIL_VERTEX = COMMON + `
uniform float u_knots[${KNOTS}];  // frame numbers, newest first
uniform int u_n_knots;
uniform float u_opacity;
out vec4 v_colour;
out float v_across, v_half;
void main() {
  int k = gl_VertexID / 2;
  float side = float(gl_VertexID % 2) * 2.0 - 1.0, age = float(k) / float(u_n_knots - 1);
  vec3 here = state(u_knots[k]);
  vec2 along = pixel(state(u_knots[max(k - 1, 0)]).xy) - pixel(state(u_knots[min(k + 1, u_n_knots - 1)]).xy);
  float length_px = max(length(along), 1e-3);  // where a particle rests, the trail has no width
  v_half = 0.5 * diameter(here.z) * ${TRAIL_WIDTH} * (1.0 - 0.75 * age) + 0.5;
  v_across = side * (v_half + 0.5);
  vec2 normal = vec2(-along.y, along.x) / length_px;
  gl_Position = clip(pixel(here.xy) + normal * v_across);
  vec4 colour = texel(u_colours, gl_InstanceID);
  v_colour = vec4(colour.rgb, colour.a * u_opacity * opacity(here.z) * pow(1.0 - age, 1.6));
}`

const TRAIL_FRAGMENT = `#version 300 es
precision highp float;
in vec4 v_colour;
in float v_across, v_half;
out vec4 pixel_colour;
void main() {
  float a = v_colour.a * clamp(v_half + 0.5 - abs(v_across), 0.0, 1.0);
  pixel_colour = vec4(v_colour.rgb * a, a);
}`

const DOT_VERTEX = COMMON + `
uniform float u_now;
uniform vec2 u_glow;
out vec2 v_from_centre;
out vec4 v_colour;
out float v_radius, v_glow;
void main() {
  vec2 corner = vec2(gl_VertexID % 2, gl_VertexID / 2) * 2.0 - 1.0;
  vec3 z = state(u_now);
  v_colour = texel(u_colours, gl_InstanceID);
  v_colour.a *= opacity(z.z);
  v_radius = 0.5 * diameter(z.z);
  v_glow = mix(u_glow.x, u_glow.y, smoothstep(0.0, ${GLOW_FULL.toFixed(3)}, z.z)) * v_colour.a;
  float reach = v_glow > 0.002 ? max(v_radius * ${GLOW_REACH.toFixed(3)}, v_radius + 4.0) : v_radius + 4.0;
  v_from_centre = corner * reach;
  gl_Position = v_colour.a > 0.003 ? clip(pixel(z.xy) + v_from_centre) : NOWHERE;
}`

const DOT_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 u_background;
uniform vec2 u_rim;     // pixels, opacity
uniform float u_adds;   // 1: the glow adds light (dark theme); 0: it covers (light theme)
in vec2 v_from_centre;
in vec4 v_colour;
in float v_radius, v_glow;
out vec4 pixel_colour;
vec4 over(vec4 top, vec4 below) { return top + below * (1.0 - top.a); }
void main() {
  float d = length(v_from_centre);
  float fall = clamp(1.0 - d / (v_radius * ${GLOW_REACH.toFixed(3)}), 0.0, 1.0);
  float g = v_glow * fall * fall;
  vec4 glow = vec4(v_colour.rgb * g, g * mix(1.0, 0.3, u_adds));
  float rim = v_colour.a * u_rim.y * clamp(v_radius + u_rim.x + 0.5 - d, 0.0, 1.0);
  float core = v_colour.a * ${OPACITY} * clamp(v_radius + 0.5 - d, 0.0, 1.0);
  vec3 lit = mix(v_colour.rgb, vec3(1.0), u_adds * ${LIGHTEN});
  pixel_colour = over(vec4(lit * core, core * mix(1.0, 0.8, u_adds)), over(vec4(u_background * rim, rim), glow));
}`

// ---- WebGL ---------------------------------------------------------------------------------------------------------
// A program of two shaders, and where its uniforms are. Throws an Error with what the graphics card says.
function linked(gl, vertex, fragment) {
  const program = gl.createProgram()
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind)
    gl.shaderSource(shader, source)
    gl.compileShader(shader)
    gl.attachShader(program, shader)
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader))
  }
  gl.linkProgram(program)
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program))
  const at = {}
  const n = gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) || 0
  for (let i = 0; i < n; i++) {
    const name = gl.getActiveUniform(program, i).name
    at[name.replace("[0]", "")] = gl.getUniformLocation(program, name)
  }
  return {program, at}
}

class Flow {
  // Throws an Error with a sentence for the user where the browser cannot draw.
  constructor(canvas) {
    this.canvas = canvas
    this.gl = canvas.getContext("webgl2", {alpha: true, premultipliedAlpha: true, antialias: false})
    if (!this.gl) throw new Error("This browser offers no WebGL 2, so the moving cells cannot be drawn. The rest of the page works.")
    this.data = null
    this.build()
  }

  build() {
    const gl = this.gl
    this.trails = linked(this.gl, TRAIL_VERTEX, TRAIL_FRAGMENT)
    this.dots = linked(this.gl, DOT_VERTEX, DOT_FRAGMENT)
    gl.bindVertexArray(gl.createVertexArray())
    gl.enable(gl.BLEND)
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1)
    if (this.data) this.load(this.data)  // after a lost context
  }

  // paths: frames × particles × 2, log_w: frames × particles, times: frames, colours: particles × 4 bytes.
  load(data) {
    const {frames, particles, paths, log_w, colours} = this.data = data
    const states = new Float32Array(4 * frames * particles)
    for (let i = 0; i < frames * particles; i++) {
      const state = [paths[2*i], paths[2*i + 1], log_w[i] - log_w[i % particles]]
      if (state.every(Number.isFinite)) states.set(state, 4*i)
      else {  // a particle that escaped stays where it was last, without mass
        if (i >= particles) states.copyWithin(4*i, 4*(i - particles), 4*(i - particles) + 2)
        states[4*i + 2] = GONE
      }
    }
    const gl = this.gl
    this.texture("states", 0, gl.RGBA32F, gl.FLOAT, states)
    this.texture("colour", 1, gl.RGBA8, gl.UNSIGNED_BYTE, colours)
  }

  texture(name, unit, format, type, values) {
    const gl = this.gl, n = values.length / 4, limit = gl.getParameter(gl.MAX_TEXTURE_SIZE)
    const width = Math.min(Math.max(n, 1), limit, 4096), height = Math.max(Math.ceil(n / width), 1)
    if (height > limit) throw new Error(`This graphics card holds ${width * limit} positions, but there are ${n}. Show fewer particles.`)
    const padded = new values.constructor(4 * width * height)
    padded.set(values)
    gl.activeTexture(gl.TEXTURE0 + unit)
    if (this[name]) gl.deleteTexture(this[name])
    this[name] = gl.createTexture()
    gl.bindTexture(gl.TEXTURE_2D, this[name])
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST)
    gl.texImage2D(gl.TEXTURE_2D, 0, format, width, height, 0, gl.RGBA, type, padded)
  }

  // The number of the frame at a time, with its fraction.
  frame_at(time) {
    const {times, frames} = this.data
    if (!(time > times[0])) return 0
    if (time >= times[frames - 1]) return frames - 1
    let low = 0, high = frames - 1
    while (high - low > 1) { const mid = (low + high) >> 1; if (times[mid] <= time) low = mid; else high = mid }
    return low + (time - times[low]) / (times[high] - times[low])
  }

  // width, height: css pixels; view: [x0, x1, y0, y1]; trail: length in units of time; size: diameter in css pixels.
  draw({width, height, ratio, view, time, trail, size, dark, background}) {
    const gl = this.gl, w = Math.round(width * ratio), h = Math.round(height * ratio)
    if (gl.isContextLost() || w < 1 || h < 1) return
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, {width: w, height: h})
    gl.viewport(0, 0, w, h)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT)
    if (!this.data || !this.data.particles) return
    const {frames, particles} = this.data
    const use = ({program, at}) => {
      gl.useProgram(program)
      gl.uniform1i(at.u_states, 0)
      gl.uniform1i(at.u_colours, 1)
      gl.uniform2i(at.u_count, frames, particles)
      gl.uniform4f(at.u_view, ...view)
      gl.uniform2f(at.u_box, w, h)
      gl.uniform1f(at.u_diameter, size * ratio)
      return at
    }
    if (trail > 0) {
      const at = use(this.trails), n = particles > MANY ? KNOTS_MANY : KNOTS
      gl.uniform1fv(at.u_knots, Float32Array.from({length: n}, (_, k) => this.frame_at(time - trail * k / (n - 1))))
      gl.uniform1i(at.u_n_knots, n)
      gl.uniform1f(at.u_opacity, dark ? TRAIL_OPACITY.dark : TRAIL_OPACITY.light)
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 2 * n, particles)
    }
    const at = use(this.dots)
    gl.uniform1f(at.u_now, this.frame_at(time))
    gl.uniform2f(at.u_glow, ...(dark ? GLOW.dark : GLOW.light))
    gl.uniform1f(at.u_adds, dark ? 1 : 0)
    gl.uniform2f(at.u_rim, RIM * ratio, dark ? RIM_OPACITY.dark : RIM_OPACITY.light)
    gl.uniform3f(at.u_background, ...background)
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, particles)
  }

  destroy() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext()  // browsers allow only a few contexts a page
  }
}

// ---- the time as it plays --------------------------------------------------------------------------------------------
// Moves `at`, {now, resting}, on by so many seconds: playing rests at each measured time, and at the end before it
// begins anew. Says what happened: "rests", "moves", "arrives" at a measured time or the end, "begins" anew, "ends".
function play_on(at, seconds, {first, last, speed, marks, loop}) {
  if (at.resting > 0) { at.resting -= seconds; return "rests" }
  if (!(last > first)) return "rests"
  if (at.now >= last) {
    if (!loop) return "ends"
    Object.assign(at, {now: first, resting: DWELL})
    return "begins"
  }
  const next = Math.min(at.now + seconds * speed * (last - first) / PASS, last)
  const mark = marks.find(m => m.time > at.now + 1e-9 * (last - first) && m.time <= next)
  at.now = mark ? mark.time : next
  if (!mark && at.now < last) return "moves"
  at.resting = DWELL
  return "arrives"
}

// ---- the clock -----------------------------------------------------------------------------------------------------
// A corner text: the time with its unit, a line with a tick for each measured time, and where between them we are.
const CLOCK_STYLE = `
  .flow { position: absolute; inset: 0; overflow: hidden; pointer-events: none; }
  .flow canvas { position: absolute; }
  .clock { position: absolute; box-sizing: border-box; width: 176px; padding: 8px 12px 9px;
    color: var(--ink); text-shadow: 0 0 2px var(--background), 0 0 4px var(--background), 0 0 8px var(--background);
    font: 11px/1.3 var(--font); font-variant-numeric: tabular-nums; }
  .clock .time { font-size: 19px; font-weight: 600; letter-spacing: -0.01em; transition: color 0.25s; }
  .clock .between { color: var(--muted); white-space: nowrap; overflow: hidden; text-overflow: ellipsis; transition: color 0.25s; }
  .clock.measured .time, .clock.measured .between { color: var(--accent); }
  .clock .line { position: relative; height: 2px; margin: 9px 4px 3px; border-radius: 1px; background: var(--grid);
    box-shadow: 0 0 0 1px color-mix(in srgb, var(--background) 60%, transparent); }
  .clock .done { position: absolute; inset: 0 auto 0 0; border-radius: 1px; background: var(--accent); }
  .clock .tick { position: absolute; top: -2px; width: 6px; height: 6px; margin-left: -3px; border-radius: 50%;
    box-sizing: border-box; border: 1.5px solid var(--muted); background: var(--background); }
  .clock .tick.past { border-color: var(--accent); background: var(--accent); }
  .clock .tick.now { transform: scale(1.7); transition: transform 0.2s; }
  .sorry { position: absolute; left: 12px; top: 12px; max-width: 320px; color: var(--muted); font: 12px/1.4 var(--font); }
`

function make(tag, name, parent) {
  const node = document.createElement(tag)
  node.className = name
  parent?.append(node)
  return node
}

function make_clock(parent) {
  const root = make("div", "clock", parent)
  const time = make("div", "time", root), between = make("div", "between", root), line = make("div", "line", root)
  let ticks = [], done = null, key = ""
  return {
    root,
    // marks: [{time, label}], ascending; first, last: the whole time
    show(now, {marks, unit, first, last}) {
      const whole = last - first || 1, share = t => Math.min(Math.max((t - first) / whole, 0), 1)
      const new_key = JSON.stringify([marks, first, last])
      if (new_key !== key) {
        key = new_key
        line.replaceChildren()
        done = make("div", "done", line)
        ticks = marks.map(m => { const t = make("div", "tick", line); t.style.left = `${100 * share(m.time)}%`; return t })
      }
      const digits = Math.min(Math.max(Math.ceil(-Math.log10(whole / 40)), 0), 6)
      const at = marks.findIndex(m => Math.abs(m.time - now) <= NEAR_MARK * whole)
      const next = marks.findIndex(m => m.time > now)
      const number = (at >= 0 ? marks[at].time : now).toFixed(digits).replace("-", "−")
      const text = unit ? `${number} ${unit}` : number
      if (time.textContent !== text) time.textContent = text
      const name = m => String(m.label ?? m.time)
      const where = at >= 0 ? `measured · ${name(marks[at])}` : next > 0 ? `${name(marks[next - 1])} → ${name(marks[next])}` : ""
      if (between.textContent !== where) between.textContent = where
      root.classList.toggle("measured", at >= 0)
      done.style.width = `${100 * share(now)}%`
      ticks.forEach((tick, i) => {
        tick.classList.toggle("past", marks[i].time <= now + NEAR_MARK * whole)
        tick.classList.toggle("now", i === at)
      })
    },
  }
}

// A colour #rrggbb as three numbers from 0 to 1.
function rgb(hex) { return [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255) }
