// What lies beneath and above the cells: the growth map and the streamlines, drawn plainly.

const GROWTH_FINER = 5      // pixels of the growth map's picture for each of its values
const GROWTH_STRENGTH = 0.75
const HALO = 2              // pixels by which a line's halo is wider
const HALO_OPACITY = 0.4
const HEAD = 8              // pixels

// A value between those of a grid, row by row from the lowest; at (i, j) as column and row.
function between(grid, columns, rows, i, j) {
  const x = Math.min(Math.max(i, 0), columns - 1), y = Math.min(Math.max(j, 0), rows - 1)
  const a = Math.min(Math.floor(x), columns - 2), b = Math.min(Math.floor(y), rows - 2), u = x - a, v = y - b
  const k = b * columns + a
  return (1 - v) * ((1 - u) * grid[k] + u * grid[k + 1]) + v * ((1 - u) * grid[k + columns] + u * grid[k + columns + 1])
}

// The growth map as a picture of its own. growth: 0..254, 127 for none, 255 unknown; cover: 0..255, how much shows.
function growth_picture({growth, cover}, {columns, rows, palette}) {
  const picture = document.createElement("canvas"), w = columns * GROWTH_FINER, h = rows * GROWTH_FINER
  Object.assign(picture, {width: w, height: h})
  const pen = picture.getContext("2d"), pixels = pen.createImageData(w, h), known = growth.map(g => g === 255 ? 127 : g)
  const last = palette.length / 4 - 1
  for (let row = 0; row < h; row++) for (let column = 0; column < w; column++) {
    const i = (column + 0.5) / GROWTH_FINER - 0.5, j = (h - row - 0.5) / GROWTH_FINER - 0.5
    const k = 4 * Math.round(between(known, columns, rows, i, j) / 254 * last), to = 4 * (row * w + column)
    const here = between(cover, columns, rows, i, j) / 255
    pixels.data.set(palette.subarray(k, k + 3), to)
    pixels.data[to + 3] = Math.round(palette[k + 3] * GROWTH_STRENGTH * here)
  }
  pen.putImageData(pixels, 0, 0)
  return picture
}

// A clean canvas of a size in css pixels, and its pen, which draws in css pixels.
function clean(canvas, width, height, ratio) {
  const w = Math.round(width * ratio), h = Math.round(height * ratio)
  Object.assign(canvas, {width: w, height: h})  // which cleans it
  const pen = canvas.getContext("2d")
  pen.scale(w / width, h / height)
  return pen
}

function draw_growth(canvas, picture, of, {width, height, ratio, view}) {
  const pen = clean(canvas, width, height, ratio)
  if (!picture) return
  const [x0, x1, y0, y1] = view, kx = width / (x1 - x0), ky = height / (y1 - y0)
  pen.imageSmoothingQuality = "high"
  pen.drawImage(picture, (of[0] - x0) * kx, (y1 - of[3]) * ky, (of[1] - of[0]) * kx, (of[3] - of[2]) * ky)
}

// lines: {x, y, strength} of all points one line after the other, lengths: points of each line.
function draw_streams(canvas, lines, head_at, {width, height, ratio, view, ink, background, thick}) {
  const pen = clean(canvas, width, height, ratio)
  if (!lines) return
  const [x0, x1, y0, y1] = view, kx = width / (x1 - x0), ky = height / (y1 - y0)
  const at = i => [(lines.x[i] - x0) * kx, (y1 - lines.y[i]) * ky]
  const each = (width_of, opacity_of, colour) => {
    pen.strokeStyle = colour
    pen.lineCap = "butt"
    let begin = 0
    for (const n of lines.lengths) {
      for (let i = begin; i < begin + n - 1; i++) {
        const s = (lines.strength[i] + lines.strength[i + 1]) / 510
        pen.globalAlpha = opacity_of(s)
        pen.lineWidth = width_of(s)
        pen.beginPath()
        pen.moveTo(...at(i))
        pen.lineTo(...at(i + 1))
        pen.stroke()
      }
      begin += n
    }
  }
  const line = s => thick * (0.5 + 1.3 * s), shown = s => 0.9 * s
  each(s => line(s) + HALO * thick, s => HALO_OPACITY * shown(s), background)
  each(line, shown, ink)
  let begin = 0
  pen.fillStyle = ink
  for (const n of lines.lengths) {
    const i = begin + Math.min(Math.max(Math.floor(head_at * (n - 1)), 1), n - 2), [ax, ay] = at(i - 1), [bx, by] = at(i + 1)
    const length = Math.hypot(bx - ax, by - ay) || 1, c = (bx - ax) / length, s = (by - ay) / length, [x, y] = at(i)
    const half = 0.5 * HEAD * thick
    pen.globalAlpha = lines.strength[i] / 255
    pen.beginPath()
    pen.moveTo(x + half * c, y + half * s)
    pen.lineTo(x - half * c - half * s, y - half * s + half * c)
    pen.lineTo(x - half * c + half * s, y - half * s - half * c)
    pen.fill()
    begin += n
  }
}
