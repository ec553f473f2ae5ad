// What is in the file: arrays out of one text, what cells are coloured by; and small helpers.

const UNKNOWN = "#9aa0a6"   // cells without a value, and those that are faded

const $ = id => document.getElementById(id)
const clamp = (value, low, high) => Math.min(Math.max(value, low), high)

function node(tag, text = "", name = "", parent = null) {
  const made = make(tag, name, parent)
  if (text) made.textContent = text
  return made
}

// A number for people: three digits, a true minus.
function number(value) {
  if (!Number.isFinite(value)) return "no value"
  const size = Math.abs(value), digits = size >= 100 || size === 0 ? 0 : Math.min(2 - Math.floor(Math.log10(size)), 8)
  const text = size && size < 1e-4 ? value.toExponential(2) : String(+value.toFixed(digits))
  return text.replace("-", "−")
}
const whole = n => n.toLocaleString("en-US")

// ---- the data ------------------------------------------------------------------------------------------------------
async function unpack(text) {
  if (!("DecompressionStream" in window)) throw new Error("This browser cannot unpack the cells: open the page in one from 2023 or later.")
  const words = atob(text.trim()), bytes = new Uint8Array(words.length)
  for (let i = 0; i < words.length; i++) bytes[i] = words.charCodeAt(i)
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()
}

const KINDS = {u8: Uint8Array, u16: Uint16Array, u32: Uint32Array}

// Arrays by where they are in the buffer.
class Store {
  constructor(buffer) { this.buffer = buffer }
  raw({type, at, n}) { return new KINDS[type](this.buffer, at, n) }
  scale(place) { return Float32Array.from(this.raw(place), q => q === 65535 ? NaN : place.low + q / 65534 * (place.high - place.low)) }
  axis(place) { return {values: this.raw(place), low: place.low, high: place.high} }
  json({at, n}) { return JSON.parse(new TextDecoder().decode(new Uint8Array(this.buffer, at, n))) }
}

const bytes_of = hex => [1, 3, 5, 7].map(i => i < hex.length ? parseInt(hex.slice(i, i + 2), 16) : 255)

// ---- what cells are coloured by ------------------------------------------------------------------------------------
// A choice: how each cell looks, what its value is called, and what its legend shows.
class Names {
  constructor(told, store) {
    Object.assign(this, told)
    this.codes = store.raw(told.codes)
    this.bytes = told.colours.map(bytes_of)
    this.chosen = new Set()  // names that are shown, the others fade; none: all are
  }
  colour(cell) { return this.bytes[this.codes[cell]] ?? bytes_of(UNKNOWN) }
  lit(cell) { return !this.chosen.size || this.chosen.has(this.codes[cell]) }
  first(cell) { return this.codes[cell] === 255 || this.below.includes(this.codes[cell]) }
  text(cell) { return this.names[this.codes[cell]] ?? "no label" }
}

class Numbers {
  constructor(told, store) {
    Object.assign(this, told)
    this.values = store.scale(told.values)
    this.bytes = told.palette.map(bytes_of)
    this.unknown = this.values.some(Number.isNaN)
  }
  colour(cell) {
    const [low, high] = this.limits, share = (this.values[cell] - low) / (high - low)
    return Number.isNaN(share) ? bytes_of(UNKNOWN) : this.bytes[Math.round(clamp(share, 0, 1) * (this.bytes.length - 1))]
  }
  lit() { return true }
  first(cell) { return Number.isNaN(this.values[cell]) }
  text(cell) { return number(this.values[cell]) }
}
