// @ts-check
// One z as every class, side by side.

import { digitPicture, make } from "./controls.js";
import { decodeMean, oneHot } from "./network.js";

/** @import { Network, Numbers } from "./types.d.ts" */

/**
 * The mean pictures of one z as every class. Both the VAE that is given labels and M2 join a one-hot y to z.
 * @param {Network} decoder @param {number[]} z @param {number} nClasses
 */
export function asEveryClass(decoder, z, nClasses) {
  return Array.from({ length: nClasses }, (_, k) => decodeMean(decoder, [...z, ...oneHot(nClasses, k)]));
}

/** Per cent: 0 and 100 stand for what is closer to them than half a thousandth. @param {number} p */
export function percent(p) {
  if (p < 0.0005 || p > 0.9995) return p < 0.5 ? "0" : "100";
  return (100 * p).toFixed(p < 0.0995 || p > 0.9905 ? 1 : 0);
}

/**
 * Pictures of the classes side by side; with `bars`, the probability of each above it, else in two rows where it is narrow.
 * @param {number} nClasses
 */
export function classRow(nClasses, bars = false) {
  const cells = Array.from({ length: nClasses }, (_, k) => {
    const digit = digitPicture(String(k)), bar = make("div", {}), words = make("output", { "aria-live": "off" });
    if (bars) digit.box.prepend(words, make("div", { class: "vae-chance", "aria-hidden": "true" }, bar));
    return { digit, bar, words };
  });
  return {
    box: make("div", { class: bars ? "vae-classes vae-bars" : "vae-classes" }, ...cells.map(c => c.digit.box)),
    /** @param {Numbers[]} pictures @param {number[] | null} [q] */
    show(pictures, q) {
      const top = q && q.some(p => p) ? q.indexOf(Math.max(...q)) : -1; // all 0: there is no picture
      cells.forEach(({ digit, bar, words }, k) => {
        digit.show(pictures[k], q ? `This style as class ${k}` : `This z as class ${k}`);
        if (!q) return;
        bar.style.height = `${100 * q[k]}%`;
        bar.hidden = q[k] < 0.005; // or its border alone would look like a little
        words.textContent = top < 0 ? "" : percent(q[k]);
        digit.box.classList.toggle("vae-top", k === top);
        words.classList.toggle("vae-none", words.textContent === "0");
      });
    },
  };
}
