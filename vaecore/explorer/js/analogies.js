// @ts-check
// A digit's class and style as M2 sees them, and the style as every class.

import { classRow, asEveryClass, percent } from "./class_row.js";
import { button, make, math } from "./controls.js";
import { digitSource } from "./digits.js";
import { encodeGaussian, forward, oneHot, softmax } from "./network.js";
import { latentSliders, latentsOf, priorDraw } from "./sliders.js";

/** @import { AnalogiesSettings, Kind, Network, Numbers } from "./types.d.ts" */

/** @type {Kind<AnalogiesSettings>} */
export const analogies = {
  room: () => [39.4, 28.6],

  async show(view) {
    const { d_z: dZ, n_classes: nClasses, limit } = view.settings;
    const [classifier, encoder, decoder] =
      await Promise.all(["classifier", "encoder", "decoder"].map(role => view.network(role)));
    // a digit that the reader draws or picks has a style of its own
    const ofDigit = { set(/** @type {string} */ name, /** @type {unknown} */ value) { view.set({ z: null, [name]: value }); } };
    const source = await digitSource(Object.assign(Object.create(view), ofDigit));
    const inferred = () => source.empty() ? null : analogy(classifier, encoder, source.bits());
    const current = () => latentsOf(view) ?? inferred()?.style ?? Array(dZ).fill(0);
    const row = classRow(nClasses, true), sliders = latentSliders(view, view.settings, current);
    const buttons = make("div", { class: "vae-buttons" },
      button("back to the digit's style", () => view.set("z", null)),
      button("draw z from the prior", () => view.set("z", priorDraw(dZ, limit))));
    const words = make("p", { class: "vae-note" }, "bars: ", math("q(y|x)"), " in per cent; pictures: the style ",
                       math("z"), " as each class");
    view.root.append(make("div", { class: "vae-hand" }, source.box, make("div", { class: "vae-wide" }, words, row.box),
                          make("div", {}, sliders.box, buttons)));

    view.watch(["drawing", "z"], () => {
      const own = inferred(), z = latentsOf(view) ?? own?.style;
      const blank = Array(nClasses).fill(new Uint8Array(decoder.nOut));
      row.show(z ? asEveryClass(decoder, z, nClasses) : blank, own?.q ?? Array(nClasses).fill(0));
      sliders.show(z ?? Array(dZ).fill(0));
      view.say(own ? `${source.words()}; most probable class ${own.y}, ${percent(own.q[own.y])} per cent; the style is ` +
                     (view.get("z") ? `moved: ${sliders.words(z)}` : "the digit's own") : source.words());
    });
  },
};

/**
 * q(y|x), the most probable y, and the mean of q(z|x,y) at it.
 * @param {Network} classifier @param {Network} encoder @param {Numbers} bits
 */
export function analogy(classifier, encoder, bits) {
  const q = softmax(forward(classifier, bits)), y = q.indexOf(Math.max(...q));
  const style = encodeGaussian(encoder, [...Array.from(bits), ...oneHot(q.length, y)]).mu;
  return { q, y, style };
}
