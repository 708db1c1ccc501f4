// @ts-check
// A decoder under the hand: sliders for its latents, a plane when there are two, walks between test digits.

import { readBytes } from "./blobs.js";
import { button, choice, digitPicture, make, math, minus, slider, symbol } from "./controls.js";
import { decodeMean } from "./network.js";
import { paintManifold, plane, planeToggles } from "./plane.js";
import { latentSliders, latentsOf, priorDraw } from "./sliders.js";

/** @import { Kind, LatentSettings } from "./types.d.ts" */
/** @import { View } from "./view.js" */

/** @type {Kind<LatentSettings>} */
export const latent = {
  room: ({ d_z: dZ }) => (dZ === 2 ? [46.6, 27.6] : [40.8, 25.6]),

  async show(view) {
    const { d_z: dZ, order, kl, codes, labels, limit, radius, steps, shape } = view.settings;
    const picture = await latentPicture(view), flat = dZ === 2, gridOnly = steps && !view.get("picture");
    const digit = digitPicture(["decoded from ", math("z")], shape);
    const thing = String(shape) === "28,28" ? "digit" : "picture";
    const moved = gridOnly ? order.slice(0, 2) : order; // the others have no pictures
    const sliders = latentSliders(view, { order: moved, kl: flat ? [] : kl, first: 8 }, () => view.get("z"));
    const pad = flat ? plane({ limit, radius, codes, labels, onMove: z => view.set("z", z) }) : null;
    const walking = codes.length ? walk(view, pad) : null;
    const buttons = make("div", { class: "vae-buttons" },
      button("draw z from the prior", () =>
        view.set("z", priorDraw(dZ, limit).map((v, j) => (moved.includes(j) ? v : 0)))),
      button("reset", () => view.set("z", Array(dZ).fill(0))));
    view.root.append(make("div", { class: pad ? "vae-columns" : "vae-columns vae-no-plane" },
      pad ? make("div", {}, pad.box, planeToggles(pad)) : null,
      make("div", { class: "vae-side" }, digit.box, make("div", {}, sliders.box, buttons, walking?.box))));

    const where = (/** @type {number[]} */ z) => {
      const near = nearest(z, codes, labels);
      const at = flat ? `z = (${z.map(v => minus(v)).join(", ")})` : sliders.words(z);
      return `${at}${near === null ? "" : `; the nearest test digit shown is a ${near}`}`;
    };
    view.watch(["z", "picture"], () => {
      const z = latentsOf(view), answered = picture.answered?.() ?? z; // a kernel may still be at an earlier z
      digit.show(picture.at(z), `Decoded ${thing} at ${where(answered)}`);
      sliders.show(z);
      pad?.show(z, `Plane of two latents with decoded ${thing}s${codes.length ? " and codes of test digits" : ""}; the point is at ${where(z)}`);
      walking?.show(z);
      view.say(where(z));
    });
    if (pad) paintManifold(view, pad, picture.onGrid, limit, shape);
  },
};

/**
 * What is shown at z: the net's own answer, the kernel's, or the nearest of a grid of pictures made beforehand.
 * @param {View<LatentSettings>} view
 */
async function latentPicture(view) {
  const { blobs, d_z: dZ, steps, limit } = view.settings;
  if (blobs.decoder) {
    const decoder = await view.network("decoder");
    if (decoder.nIn !== dZ) throw new Error(`The decoder takes ${decoder.nIn} latents; this explorer has ${dZ}.`);
    const decode = (/** @type {number[]} */ z) => decodeMean(decoder, z);
    return { at: decode, onGrid: decode };
  }
  const pictures = await view.images("grid");
  const step = (/** @type {number} */ v) => Math.max(0, Math.min(steps - 1, Math.round((v / limit + 1) / 2 * (steps - 1))));
  const at = (/** @type {number[]} */ z) => pictures[step(dZ > 1 ? -z[1] : 0) * steps + step(z[0])];
  const onGrid = (/** @type {number[]} */ z) => Float32Array.from(at(z), v => v / 255);
  if (!view.get("picture")) return { at: onGrid, onGrid };
  const kernel = () => Float32Array.from(readBytes(view.get("picture").pixels, "picture"), v => v / 255);
  return { at: kernel, onGrid, answered: () => view.get("picture").z };
}

/** @param {number[]} z @param {number[][]} codes @param {number[]} labels @returns {number | null} */
function nearest(z, codes, labels) {
  let best = Infinity, label = null;
  codes.forEach((code, i) => {
    const distance = code.reduce((sum, v, j) => sum + (v - z[j]) ** 2, 0);
    if (distance < best) [best, label] = [distance, labels[i]];
  });
  return label;
}

/**
 * From the code of one test digit to that of another, along a straight line.
 * @param {View<LatentSettings>} view @param {ReturnType<typeof plane> | null} pad
 */
function walk(view, pad) {
  const { codes, labels } = view.settings;
  const classes = [...new Set(labels)].sort((a, b) => a - b);
  const options = classes.map(c => [labels.indexOf(c), `a ${c}`]);
  const along = slider({ label: symbol("t"), name: "t, the share of the way", min: 0, max: 1, onInput: go });
  const from = choice("walk from ", options, again), to = choice(" to ", options, again);
  to.select.selectedIndex = Math.min(7, options.length - 1);
  from.select.selectedIndex = Math.min(3, options.length - 1);
  const ends = () => [from, to].map(c => codes[Number(c.select.value)]);
  const at = (/** @type {number} */ t) => {
    const [a, b] = ends();
    return a.map((v, j) => (1 - t) * v + t * b[j]);
  };
  function go(/** @type {number} */ t) { view.set("z", at(t)); }
  function again() { go(0); }
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = 0, /** @type {number[]} */ last = [];
  const stop = () => cancelAnimationFrame(frame);
  function play() {
    stop();
    if (calm.matches) return go(Number(along.input.value) < 1 ? 1 : 0); // no motion: from one end to the other
    const start = performance.now();
    go(0);
    last = view.get("z");
    const step = (/** @type {number} */ now) => {
      if (!sameNumbers(view.get("z"), last)) return; // a hand, another view or Python has taken z
      const t = Math.min(1, Math.max(0, (now - start) / 2500));
      view.guard(() => go(t));
      last = view.get("z");
      if (t < 1) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  }
  view.cleanups.push(stop);
  return {
    box: make("fieldset", { class: "vae-walk" }, make("legend", {}, "a walk between two test digits"),
      make("div", { class: "vae-buttons" }, from.row, to.row, button("walk", play)), along.row),
    /** How far along z is, or that it is not on the way. @param {number[]} z */
    show(z) {
      const [a, b] = ends(), t = shareOfWay(z, a, b);
      if (t === null) along.blank("not on the way");
      else along.set(t);
      pad?.showPath(t === null ? null : [a, b]);
    },
  };
}

/** @param {number[]} a @param {number[]} b */
function sameNumbers(a, b) { return a.every((v, j) => v === b[j]); }

/**
 * t if z = (1 - t) a + t b for a t from 0 to 1, else null.
 * @param {number[]} z @param {number[]} a @param {number[]} b
 */
export function shareOfWay(z, a, b) {
  const length = a.reduce((sum, v, j) => sum + (b[j] - v) ** 2, 0);
  const t = length && a.reduce((sum, v, j) => sum + (z[j] - v) * (b[j] - v), 0) / length;
  const off = a.some((v, j) => Math.abs((1 - t) * v + t * b[j] - z[j]) > 1e-6);
  return off || t < -1e-6 || t > 1 + 1e-6 ? null : Math.min(1, Math.max(0, t));
}
