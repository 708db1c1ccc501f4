// @ts-check
// Where an explorer gets its digit: the reader draws it, or steps through test digits. The state is `drawing`, 784 grey
// values as base64; only its pad knows the strokes.

import { bytesOf, textOf } from "./blobs.js";
import { button, digitPicture, make, makeSvg } from "./controls.js";
import { followPointer } from "./plane.js";
import { BOX, normalise, SIDE } from "./strokes.js";

/** @import { Colours, PadSettings } from "./types.d.ts" */
/** @import { Line } from "./strokes.js" */
/** @import { View } from "./view.js" */

/**
 * Where the digit comes from: `bits()` of the one in use, `empty()` if there is none, `words()` that say which it is, and
 * `pick(k)`, which takes test digit k. `box` is the pad with its buttons; explorers watch "drawing" to follow it.
 * `caption` stands below the bits, of which `colourOf()` may tint some (see digitPicture); the names in `also` are values
 * on which the tint depends.
 * @param {View<PadSettings>} view
 * @param {{ caption?: (string | Node)[], colourOf?: () => ((i: number) => Colours | null) | null, also?: string[] }} options
 */
export async function digitSource(view, { caption = ["its bits, ", make("i", {}, "x")],
                                   colourOf = () => null, also = [] } = {}) {
  const { labels } = view.settings, thresholds = bytesOf(view.settings.thresholds);
  const images = await view.images(), texts = images.map(textOf);
  let last = { text: "", greys: new Uint8Array(0), bits: new Float32Array(0), empty: true, k: -1 };
  /** @type {Line[]} */
  let lines = [];
  /** @type {string | null} */
  let drawn = null;
  let picked = -1; // the test digit from which "previous" and "next" count
  const now = () => {
    const text = view.get("drawing");
    if (text !== last.text || !last.greys.length) {
      const greys = drawingBytes(text);
      if (greys.length !== SIDE * SIDE) throw new Error(`A drawing is ${SIDE * SIDE} bytes; got ${greys.length}.`);
      last = { text, greys, bits: Float32Array.from(greys, (v, i) => (v > thresholds[i] ? 1 : 0)),
               empty: !greys.some(v => v), k: texts.indexOf(text) };
    }
    return last;
  };
  const words = () => {
    const { empty, k } = now();
    if (empty) return "nothing drawn yet";
    return k < 0 ? "a drawing" : `test digit ${k + 1} of ${images.length}: a ${labels[k]}`;
  };
  const pick = (/** @type {number} */ k) => {
    picked = (k + images.length) % images.length; // at once: a key held down may come twice in a frame
    view.set("drawing", texts[picked]);
  };
  const which = make("div", { class: "vae-digit-caption" });
  const pad = drawingPad(which, line => {
    if (!lines.includes(line)) lines.push(line);
    drawn = textOf(normalise(lines));
    view.set("drawing", drawn);
  });
  const bitsShown = digitPicture(caption);
  const buttons = make("div", { class: "vae-buttons" },
    button("previous", () => pick(picked < 0 ? images.length - 1 : picked - 1), { "aria-label": "previous test digit" }),
    button("next", () => pick(picked + 1), { "aria-label": "next test digit" }),
    button("clear", () => view.set("drawing", textOf(new Uint8Array(SIDE * SIDE)))));
  const help = make("details", {}, make("summary", {}, "Draw on the left: what happens to a drawing"),
    make("p", { class: "vae-note" }, "As MNIST's digits were, it is scaled until its longer side fills " +
      `${BOX} pixels, and its centre of mass goes to the centre of ${SIDE} \u00d7 ${SIDE}.`));
  view.watch(["drawing", ...also], () => {
    const { text, greys, bits, empty, k } = now();
    if (text !== drawn) [lines, drawn] = [[], null]; // from a button, Python or another view: the next line starts a new drawing
    if (k >= 0) picked = k;
    pad.show(lines, greys, empty, `Drawing pad: ${words()}`);
    bitsShown.show(bits, empty ? "No bits: nothing drawn yet" : `The bits of the digit: ${words()}`, colourOf());
    which.textContent = words();
  });
  return {
    box: make("div", { class: "vae-source" }, make("div", { class: "vae-pair" }, pad.box, bitsShown.box), buttons, help),
    bits: () => now().bits, empty: () => now().empty, words, pick,
  };
}

/** @param {string} text */
function drawingBytes(text) {
  try { return bytesOf(text); } catch {
    throw new Error(`A drawing is ${SIDE * SIDE} bytes as base64; got other text.`);
  }
}

/**
 * White paper with dark ink. `onInk` gets the line under the hand, of points from 0 to 1, at its start and whenever it
 * has grown.
 * @param {HTMLElement} caption @param {(line: Line) => void} onInk
 */
export function drawingPad(caption, onInk) {
  const size = 280, paper = digitPicture(null);
  const ink = makeSvg("path", { class: "vae-ink" });
  const hint = makeSvg("text", { class: "vae-hint", x: size / 2, y: size / 2 }, "draw a digit here");
  const svg = makeSvg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", class: "vae-pad" }, ink, hint);
  /** @type {Line} */
  let line = [];
  const add = (/** @type {PointerEvent} */ event) => {
    const box = svg.getBoundingClientRect(), inside = (/** @type {number} */ v) => Math.max(0, Math.min(1, v));
    const x = inside((event.clientX - box.left) / box.width), y = inside((event.clientY - box.top) / box.height);
    const before = line[line.length - 1];
    if (!before || Math.hypot(x - before[0], y - before[1]) > 0.004) line.push([x, y]);
  };
  followPointer(svg, event => {
    line = [];
    add(event);
    onInk(line);
  }, event => {
    const between = event.getCoalescedEvents?.() ?? [];
    for (const e of between.length ? between : [event]) add(e);
    onInk(line);
  });
  const d = (/** @type {Line} */ points) => points.map(([x, y]) => `${(x * size).toFixed(1)} ${(y * size).toFixed(1)}`).join("L");
  return {
    box: make("div", { class: "vae-digit-box" }, make("div", { class: "vae-pad-box" }, paper.canvas, svg), caption),
    /** @param {Line[]} lines @param {Uint8Array} greys @param {boolean} empty @param {string} alt */
    show(lines, greys, empty, alt) {
      paper.show(lines.length ? new Uint8Array(SIDE * SIDE) : greys, "");
      paper.canvas.setAttribute("aria-hidden", "true");
      ink.setAttribute("d", lines.map(points => `M${d(points)}${points.length > 1 ? "" : "h0"}`).join(""));
      hint.style.display = empty ? "" : "none";
      svg.setAttribute("aria-label", alt);
    },
  };
}
