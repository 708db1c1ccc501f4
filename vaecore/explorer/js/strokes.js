// @ts-check
// Strokes of a hand as a picture like MNIST's, which were made by the same rule.

/** @typedef {number[][]} Line of points [x, y] */

export const SIDE = 28, BOX = 20; // pixels: of the field, and of the box that a digit fills
const PEN = 2.4, RIM = 1.2; // pixels: width of the pen, and of its rim from ink to paper; both fitted to test digits
const MARGIN = 1.35; // pixels from the middle of a line to the edge of the box: no grey lies beyond
const CENTRE = 14.5; // of the field, as MNIST has it: the middle of pixel (14, 14), counted from 0
const LEAST = 0.06; // share of the pad below which a drawing is a dot, and is not blown up to a box

/**
 * Lines of any size as 784 grey values: the longer side of what is drawn fills 20 pixels, and the centre of mass lies in
 * the middle of the field, to a whole pixel.
 * @param {Line[]} lines
 */
export function normalise(lines) {
  const points = lines.flat(), greys = new Uint8Array(SIDE * SIDE);
  if (points.length === 0) return greys;
  const [left, right] = extent(points.map(p => p[0])), [top, bottom] = extent(points.map(p => p[1]));
  const scale = (BOX - 2 * MARGIN) / Math.max(right - left, bottom - top, LEAST);
  const inBox = lines.map(line => line.map(([x, y]) => [(x - left) * scale + MARGIN, (y - top) * scale + MARGIN]));
  const ink = rendered(inBox);
  let mass = 0, across = 0, down = 0;
  ink.forEach((v, i) => {
    mass += v;
    across += v * (i % BOX + 0.5);
    down += v * (Math.floor(i / BOX) + 0.5);
  });
  const shift = (/** @type {number} */ moment, /** @type {number} */ length) => { // so far that no ink is cut off
    const room = SIDE - Math.ceil(length * scale + 2 * MARGIN);
    return Math.max(0, Math.min(room, Math.round(CENTRE - moment / mass)));
  };
  const x = shift(across, right - left), y = shift(down, bottom - top);
  ink.forEach((v, i) => { if (v > 0) greys[(y + Math.floor(i / BOX)) * SIDE + x + i % BOX] = Math.round(255 * v); });
  return greys;
}

/** @param {number[]} numbers */
function extent(numbers) {
  return [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))];
}

/**
 * The ink, from 0 to 1, of 20 by 20 pixels: full within the pen of a line, then falling to nothing.
 * @param {Line[]} lines
 */
function rendered(lines) {
  const ink = new Float32Array(BOX * BOX), reach = (PEN + RIM) / 2;
  const near = (/** @type {number} */ a, /** @type {number} */ b) => [Math.max(0, Math.floor(Math.min(a, b) - reach)), Math.min(BOX - 1, Math.max(a, b) + reach)];
  for (const line of lines) {
    for (let k = 0; k < line.length; k++) {
      const [x0, y0] = line[Math.max(0, k - 1)], [x1, y1] = line[k], dx = x1 - x0, dy = y1 - y0;
      const [left, right] = near(x0, x1), [top, bottom] = near(y0, y1), square = dx * dx + dy * dy;
      for (let row = top; row <= bottom; row++) {
        for (let column = left; column <= right; column++) {
          const x = column + 0.5 - x0, y = row + 0.5 - y0;
          const t = square && Math.max(0, Math.min(1, (x * dx + y * dy) / square));
          const v = (PEN / 2 - Math.hypot(x - t * dx, y - t * dy)) / RIM + 0.5, i = row * BOX + column;
          if (v > ink[i]) ink[i] = Math.min(1, v);
        }
      }
    }
  }
  return ink;
}
