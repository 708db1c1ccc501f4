// @ts-check
// What explorers of many latents share: sliders for z, the one with the largest KL first, and draws of z.

import { make, minus, slider, symbol } from "./controls.js";
import { gaussianNoise } from "./network.js";

/** @import { LatentsSettings, Sliders } from "./types.d.ts" */
/** @import { View } from "./view.js" */

/**
 * z as the view has it: d_z floats, or null where the explorer takes z from somewhere else. Throws a sentence for others.
 * @param {View<LatentsSettings>} view @returns {number[]}
 */
export function latentsOf(view, name = "z") {
  const z = view.get(name), dZ = view.settings.d_z;
  if (z !== null && (z?.length !== dZ || !z.every(Number.isFinite))) {
    throw new Error(`${name} must be ${dZ} finite numbers; got ${z?.length === dZ ? z.join(", ") : z?.length}.`);
  }
  return z;
}

/**
 * As fine and as far as the sliders go.
 * @param {number} dZ @param {number} limit
 */
export function priorDraw(dZ, limit) {
  return gaussianNoise(dZ).map(v => Math.max(-limit, Math.min(limit, Math.round(v * 100) / 100)));
}

/**
 * `current` gives the z in use, which a slider changes in one place; the first `first` sliders are not folded away.
 * @param {View<LatentsSettings>} view @param {Sliders} sliders @param {() => number[]} current
 */
export function latentSliders(view, { order, kl, first = view.settings.first }, current) {
  const { limit } = view.settings;
  const sliders = order.map(j => slider({
    label: symbol("z", j + 1), name: `z${j + 1}`, min: -limit, max: limit,
    note: kl.length ? `${kl[j].toFixed(kl[j] < 0.1 ? 2 : 1)} nats` : null,
    onInput: value => view.set("z", current().map((v, i) => (i === j ? value : v))),
  }));
  const rows = (/** @type {typeof sliders} */ shown) => make("div", { class: "vae-sliders" }, ...shown.map(s => s.row));
  const others = sliders.slice(first);
  return {
    box: make("div", {}, rows(sliders.slice(0, first)), others.length === 0 ? null : make("details", {},
      make("summary", {}, others.length === 1 ? "the other latent" : `the other ${others.length} latents`),
      rows(others))),
    /** @param {number[]} z */
    show(z) { sliders.forEach((s, k) => s.set(z[order[k]])); },
    /** For screen readers: the first few. @param {number[]} z */
    words(z) {
      return order.slice(0, first).map(j => `z ${j + 1} is ${minus(z[j]).replace("\u2212", "minus ")}`).join(", ");
    },
  };
}
