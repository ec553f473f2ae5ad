// The cells as dots: by WebGL 2, or plain where a browser offers none. Both draw the same arrays in the same order.

const CELL_VERTEX = `#version 300 es
precision highp float;
in float a_x, a_y;           // shares of the box
in vec4 a_colour;
uniform vec2 u_scale, u_shift;  // from shares to pixels from the lower left
uniform vec2 u_box;             // pixels
uniform float u_diameter, u_opacity;
out vec4 v_colour;
out float v_size;
void main() {
  vec2 pixel = vec2(a_x, a_y) * u_scale + u_shift;
  gl_Position = vec4(2.0 * pixel / u_box - 1.0, 0.0, 1.0);
  v_size = u_diameter + 2.0;
  gl_PointSize = v_size;
  v_colour = vec4(a_colour.rgb, a_colour.a * u_opacity);
}`

const CELL_FRAGMENT = `#version 300 es
precision highp float;
in vec4 v_colour;
in float v_size;
out vec4 pixel_colour;
void main() {
  float d = length(gl_PointCoord - 0.5) * v_size;
  float a = v_colour.a * clamp(0.5 * v_size - 0.5 - d, 0.0, 1.0);
  if (a <= 0.0) discard;
  pixel_colour = vec4(v_colour.rgb * a, a);
}`

const WHOLE = 65535 / 65534  // of what a share of the box is, that the graphics card takes for one

// From shares of the box to pixels: {scale, shift} of x and y, measured from the lower left.
function to_pixels({x, y}, [x0, x1, y0, y1], w, h) {
  const kx = w / (x1 - x0), ky = h / (y1 - y0)
  return {
    scale: [(x.high - x.low) * kx, (y.high - y.low) * ky],
    shift: [(x.low - x0) * kx, (y.low - y0) * ky],
  }
}

class Cells {
  // places: {x, y}, each with `values`, 16 bits, and `low` and `high`. Throws an Error where there is no WebGL 2.
  constructor(canvas, places) {
    this.canvas = canvas
    this.places = places
    this.gl = canvas.getContext("webgl2", {alpha: true, premultipliedAlpha: true, antialias: false})
    if (!this.gl) throw new Error("no WebGL 2")
    this.build()
  }

  build() {
    const gl = this.gl
    Object.assign(this, linked(gl, CELL_VERTEX, CELL_FRAGMENT), {buffers: {}, elements: null})
    gl.bindVertexArray(gl.createVertexArray())
    gl.enable(gl.BLEND)
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
    for (const axis of ["x", "y"]) this.attribute(`a_${axis}`, this.places[axis].values, 1, gl.UNSIGNED_SHORT)
    if (this.colours) this.paint(this.colours, this.order)  // after a lost context
  }

  attribute(name, values, channels, type) {
    const gl = this.gl, place = gl.getAttribLocation(this.program, name)
    gl.deleteBuffer(this.buffers[name] ?? null)
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name] = gl.createBuffer())
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW)
    gl.enableVertexAttribArray(place)
    gl.vertexAttribPointer(place, channels, type, true, 0, 0)
  }

  // colours: 4 bytes a cell; order: numbers of the cells, those below first.
  paint(colours, order) {
    const gl = this.gl
    Object.assign(this, {colours, order})
    this.attribute("a_colour", colours, 4, gl.UNSIGNED_BYTE)
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.elements ??= gl.createBuffer())
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.STATIC_DRAW)
  }

  // width, height: css pixels; view: [x0, x1, y0, y1]; size: diameter in css pixels.
  draw({width, height, ratio, view, size, opacity}) {
    const gl = this.gl, w = Math.round(width * ratio), h = Math.round(height * ratio)
    if (gl.isContextLost() || w < 1 || h < 1) return
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, {width: w, height: h})
    gl.viewport(0, 0, w, h)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT)
    if (!this.order?.length) return
    const {scale, shift} = to_pixels(this.places, view, w, h), at = this.at
    gl.useProgram(this.program)
    gl.uniform2f(at.u_scale, scale[0] * WHOLE, scale[1] * WHOLE)
    gl.uniform2f(at.u_shift, ...shift)
    gl.uniform2f(at.u_box, w, h)
    gl.uniform1f(at.u_diameter, size * ratio)
    gl.uniform1f(at.u_opacity, opacity)
    gl.drawElements(gl.POINTS, this.order.length, gl.UNSIGNED_INT, 0)
  }
}

class PlainCells {
  constructor(canvas, places) { Object.assign(this, {canvas, places}) }

  paint(colours, order) { Object.assign(this, {colours, order}) }

  draw({width, height, ratio, view, size, opacity}) {
    const w = Math.round(width * ratio), h = Math.round(height * ratio)
    Object.assign(this.canvas, {width: w, height: h})
    const pen = this.canvas.getContext("2d"), {scale, shift} = to_pixels(this.places, view, w, h)
    const {x, y} = this.places, c = this.colours, side = size * ratio
    for (const i of this.order) {
      const px = x.values[i] / 65534 * scale[0] + shift[0], py = h - y.values[i] / 65534 * scale[1] - shift[1]
      if (px < -side || py < -side || px > w + side || py > h + side) continue
      pen.fillStyle = `rgba(${c[4*i]},${c[4*i + 1]},${c[4*i + 2]},${c[4*i + 3] / 255 * opacity})`
      pen.beginPath()
      pen.arc(px, py, side / 2, 0, 7)
      pen.fill()
    }
  }
}

// Finds the cell nearest to a place: the cells of each square of a lattice over the box.
const SQUARES = 128

class Places {
  constructor({x, y}) {
    this.x = x.values
    this.y = y.values
    const n = this.x.length, of = i => (this.x[i] >> 9) * SQUARES + (this.y[i] >> 9)
    this.begin = new Uint32Array(SQUARES * SQUARES + 1)
    for (let i = 0; i < n; i++) this.begin[of(i) + 1]++
    for (let k = 0; k < SQUARES * SQUARES; k++) this.begin[k + 1] += this.begin[k]
    const next = this.begin.slice()
    this.cells = new Uint32Array(n)
    for (let i = 0; i < n; i++) this.cells[next[of(i)]++] = i
  }

  // The cell nearest to a share (u, v) of the box; kx, ky: pixels that the box takes; within `reach` pixels; -1: none.
  near(u, v, kx, ky, reach, counts) {
    const square = s => Math.min(Math.max(Math.floor(s * SQUARES), 0), SQUARES - 1)
    const [i0, i1, j0, j1] = [u - reach / kx, u + reach / kx, v - reach / ky, v + reach / ky].map(square)
    let best = -1, least = reach * reach
    for (let i = i0; i <= i1; i++) for (let k = this.begin[i * SQUARES + j0]; k < this.begin[i * SQUARES + j1 + 1]; k++) {
      const cell = this.cells[k], dx = (this.x[cell] / 65534 - u) * kx, dy = (this.y[cell] / 65534 - v) * ky
      const d = dx * dx + dy * dy
      if (d <= least && counts(cell)) { best = cell; least = d }
    }
    return best
  }
}
