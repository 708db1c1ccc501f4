// @ts-check
// A plane of two latents, to look at, to drag on, or to click on.

import { fillImage, make, makeSvg, minus, toggle } from "./controls.js";

/** @import { View } from "./view.js" */
/** @import { PlaneSettings } from "./types.d.ts" */

/**
 * Follows a finger, pen or mouse button (the main one) from where it goes down until it goes up.
 * @param {SVGElement} element
 * @param {(event: PointerEvent) => void} onDown @param {(event: PointerEvent) => void} onMove
 */
export function followPointer(element, onDown, onMove) {
  let down = false;
  // Else the mouse would select text. Not at pointerdown: WebKit would then send no more events of a pen.
  element.addEventListener("mousedown", event => event.preventDefault());
  element.addEventListener("pointerdown", event => {
    if (!event.isPrimary || event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    down = true;
    onDown(event);
  });
  element.addEventListener("pointermove", event => { if (down && event.isPrimary) onMove(event); });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { down = false; });
}

/** @param {number} index @param {number} x @param {number} y */
function axisName(index, x, y) {
  return makeSvg("text", { class: "vae-tick vae-axis", x, y }, "z",
              makeSvg("tspan", { dy: 4, "font-size": 11 }, String(index)));
}

/**
 * Two latents as a plane from -limit to limit: what the decoder makes of it, the prior's circle, codes of test digits,
 * and the point z that a hand can drag; with `onClick` instead of `onMove`, a plane to click on, where a thumb can scroll.
 * @param {PlaneSettings & { onMove?: (z: number[]) => void, onClick?: (z: number[]) => void }} options
 */
export function plane({ limit, radius, codes, labels, onMove, onClick }) {
  const size = 320;
  const at = (/** @type {number} */ v) => (v / limit + 1) * size / 2;
  const up = (/** @type {number} */ v) => (1 - v / limit) * size / 2;
  const canvas = make("canvas", { class: "vae-manifold", width: 448, height: 448, "aria-hidden": "true" });
  const texts = labels.map(label => makeSvg("text", {}, String(label))), marks = makeSvg("g", { class: "vae-codes" }, ...texts);
  const showCodes = (/** @type {number[][]} */ places) => places.forEach(([a, b], i) => {
    texts[i].setAttribute("x", at(a).toFixed(1));
    texts[i].setAttribute("y", up(b).toFixed(1));
  });
  showCodes(codes);
  const path = makeSvg("line", { class: "vae-path" });
  const over = makeSvg("g", {}); // for what else a kind of explorer shows
  const point = makeSvg("g", { class: "vae-point" }, makeSvg("circle", { r: 7 }), makeSvg("circle", { r: 1.5 }));
  const ticks = [-2, 0, 2].flatMap(v => [
    makeSvg("text", { class: "vae-tick", x: at(v), y: size + 12 }, minus(v, 0)), // outside of the frame
    makeSvg("text", { class: "vae-tick", x: -13, y: up(v) }, minus(v, 0)),
  ]);
  ticks.push(axisName(1, size - 8, size + 12), axisName(2, -14, 8));
  const svg = makeSvg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", class: "vae-plane" },
    ...ticks, makeSvg("svg", { width: size, height: size }, // which cuts off what lies outside of the frame
      makeSvg("circle", { class: "vae-prior", cx: size / 2, cy: size / 2, r: radius / limit * size / 2 }),
      marks, path, over, point));
  const placed = (/** @type {MouseEvent} */ event) => {
    const box = svg.getBoundingClientRect();
    const clip = (/** @type {number} */ v) => Math.max(-limit, Math.min(limit, v));
    return [clip(((event.clientX - box.left) / box.width * 2 - 1) * limit),
            clip((1 - (event.clientY - box.top) / box.height * 2) * limit)].map(v => Math.round(v * 100) / 100);
  };
  if (onMove) followPointer(svg, event => onMove(placed(event)), event => onMove(placed(event)));
  else svg.addEventListener("click", event => onClick(placed(event)));
  svg.classList.toggle("vae-clicked", !onMove);
  return {
    box: make("div", { class: "vae-plane-box" }, canvas, svg),
    svg, canvas, marks, over, at, up, scale: size / 2 / limit, showCodes,
    /** @param {number[]} z @param {string} alt */
    show([a, b], alt) {
      point.setAttribute("transform", `translate(${at(a)} ${up(b)})`);
      svg.setAttribute("aria-label", alt);
    },
    /** The line between two points, or none. @param {number[][] | null} ends */
    showPath(ends) {
      path.style.display = ends ? "" : "none";
      if (!ends) return;
      const [from, to] = ends;
      const corners = { x1: at(from[0]), y1: up(from[1]), x2: at(to[0]), y2: up(to[1]) };
      for (const [name, value] of Object.entries(corners)) path.setAttribute(name, String(value));
    },
  };
}

/**
 * What of a plane is shown.
 * @param {ReturnType<typeof plane>} pad
 */
export function planeToggles(pad) {
  return make("div", { class: "vae-buttons" },
    toggle("decoded plane", true, on => { pad.canvas.hidden = !on; }),
    pad.marks.childElementCount ? toggle("test digits", true, on => { pad.marks.style.display = on ? "" : "none"; }) : null);
}

/**
 * Paints what `picture(z)` gives at n by n points of a plane, a few in every frame, as ink without paper. Returns what
 * starts it again, when other pictures stand there.
 * @param {View<any>} view @param {{ canvas: HTMLCanvasElement }} plane
 * @param {(z: number[]) => Float32Array} picture @param {number} limit @param {number[]} [shape] as of digitPicture
 */
export function paintManifold(view, { canvas }, picture, limit, shape = [28, 28], n = 16) {
  const side = canvas.width / n, context = canvas.getContext("2d");
  const [height, width] = shape.slice(-2);
  const tile = make("canvas", { width, height }), pen = tile.getContext("2d");
  const image = pen.createImageData(width, height);
  let k = 0, frame = 0, last = 0;
  view.cleanups.push(() => cancelAnimationFrame(frame));
  const paintSome = () => {
    const now = performance.now(), until = now + (now - last) / 3; // most of a frame, however long, is the hand's
    last = now;
    for (; k < n * n && performance.now() < until; k++) {
      const row = Math.floor(k / n), column = k % n;
      const z = [((column + 0.5) / n * 2 - 1) * limit, (1 - (row + 0.5) / n * 2) * limit];
      const pixels = picture(z);
      if (shape.length > 2) fillImage(image, pixels);
      else pixels.forEach((ink, i) => { image.data[4 * i + 3] = 255 * ink; });
      pen.putImageData(image, 0, 0);
      context.clearRect(column * side, row * side, side, side);
      context.drawImage(tile, column * side, row * side, side, side);
    }
    if (k < n * n) frame = requestAnimationFrame(() => view.guard(paintSome));
  };
  const start = () => {
    cancelAnimationFrame(frame);
    [k, last] = [0, performance.now()];
    frame = requestAnimationFrame(() => view.guard(paintSome));
  };
  start();
  return start;
}
