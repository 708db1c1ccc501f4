// @ts-check
// What a VAE makes of a digit: q(z|x) on the plane of two latents and close up, the reconstruction from a z of q, and
// the two terms of the ELBO.

import { button, digitPicture, make, makeSvg, math, minus, slider, symbol } from "./controls.js";
import { digitSource } from "./digits.js";
import { decodeMean, encodeGaussian, forward, gaussianNoise, klToPrior, logLikelihood } from "./network.js";
import { paintManifold, plane, planeToggles } from "./plane.js";
import { latentsOf } from "./sliders.js";

/** @import { Child } from "./controls.js" */
/** @import { DigitSettings, Kind, Network, Numbers, PlaneSettings, Reading } from "./types.d.ts" */

/** @type {Kind<DigitSettings>} */
export const digit = {
  room: () => [67.7, 36.7],

  async show(view) {
    const { d_z: dZ, limit, radius, codes, labels } = view.settings;
    const [encoder, decoder] = await Promise.all([view.network("encoder"), view.network("decoder")]);
    if (encoder.nOut !== 2 * dZ || decoder.nIn !== dZ) {
      throw new Error(`The nets have ${encoder.nOut / 2} and ${decoder.nIn} latents; this explorer has ${dZ}.`);
    }
    const source = await digitSource(view);
    const flat = dZ === 2;
    const reconstruction = digitPicture(["reconstruction: ", symbol("π"), " at ", math("z")]);
    const lens = flat ? closeUp() : null;
    const sum = elboSum(math("log p_θ(x|z)"), ["ELBO, from this one ", math("z")], "in nats");
    const sliders = flat ? [0, 1].map(j => slider({
      label: symbol("ϵ", j + 1), name: `ϵ${j + 1}`, min: -3, max: 3,
      onInput: value => view.set("epsilon", latentsOf(view, "epsilon").map((v, i) => (i === j ? value : v))),
    })) : [];
    const buttons = make("div", { class: "vae-buttons" },
      button("draw z from q", () => view.set("epsilon", gaussianNoise(dZ).map(v => Math.round(v * 100) / 100))),
      button("the mean", () => view.set("epsilon", Array(dZ).fill(0))));
    const controls = make("div", {}, buttons, make("div", { class: "vae-sliders" }, ...sliders.map(s => s.row)));
    const pair = make("div", { class: "vae-pair" }, reconstruction.box, lens?.box ?? null);
    const nothing = make("p", {}, "Nothing is drawn yet: there is no ", math("q(z|x)"), " and nothing to reconstruct.");
    const onPlane = flat ? planeOfQ({ limit, radius, codes, labels, pick: source.pick }) : null;
    const columns = flat ? [[source.box, pair, controls, nothing], [onPlane.box, sum.box]]
                         : [[source.box], [pair, nothing, sum.box, controls]];
    view.root.append(make("div", { class: "vae-draw" }, ...columns.map(column => make("div", {}, ...column))));

    view.watch(["drawing", "epsilon"], () => {
      const epsilon = latentsOf(view, "epsilon");
      for (const part of [pair, sum.box, controls]) part.style.visibility = source.empty() ? "hidden" : ""; // keeps its room
      nothing.hidden = !source.empty();
      sliders.forEach((s, j) => s.set(epsilon[j]));
      if (source.empty()) {
        onPlane?.show(null);
        view.say("Nothing is drawn yet.");
        return;
      }
      const reading = encodeDecode(encoder, decoder, source.bits(), epsilon);
      reconstruction.show(reading.pixels, `Reconstruction of ${source.words()}`);
      const { logP, kl, elbo } = sum.show(reading);
      lens?.show(reading);
      onPlane?.show(reading);
      const nats = (/** @type {number} */ v) => minus(v, 1).replace("\u2212", "minus ");
      view.say(`${source.words()}; log p of x given z is ${nats(logP)} nats, the KL ${nats(kl)}, ` +
               `so the ELBO ${nats(elbo)}`);
    });
    if (onPlane) paintManifold(view, onPlane.pad, z => decodeMean(decoder, z), limit);
  },
};

/**
 * q of the bits x, z = mu + sigma epsilon, the mean picture there, and in nats the ELBO with its two terms.
 * @param {Network} encoder @param {Network} decoder @param {Numbers} x @param {number[]} epsilon @returns {Reading}
 */
export function encodeDecode(encoder, decoder, x, epsilon) {
  const q = encodeGaussian(encoder, x), z = q.mu.map((m, j) => m + q.sigma[j] * epsilon[j]);
  const logits = forward(decoder, z), logP = logLikelihood(logits, x), kl = klToPrior(q);
  return { ...q, z, epsilon, logP, kl, elbo: logP - kl, pixels: logits.map(v => 1 / (1 + Math.exp(-v))) };
}

/**
 * The ELBO and its two terms, in nats.
 * @param {Child} logPWords @param {Child[]} elboWords @param {string} note
 */
export function elboSum(logPWords, elboWords, note) {
  /** @param {string} sign @param {Child} words @param {string} kind */
  const row = (sign, words, kind) => {
    const value = make("span", { class: "vae-value" });
    return { value, row: make("div", { class: `vae-term ${kind}` }, make("span", {}, sign), words, value) };
  };
  const logP = row("", logPWords, "vae-of-p");
  const kl = row("\u2212", math("KL(q_ϕ(z|x) ‖ p(z))"), "vae-of-q");
  const elbo = row("=", make("span", {}, ...elboWords), "vae-total");
  return {
    box: make("div", { class: "vae-sum" }, logP.row, kl.row, elbo.row, make("p", { class: "vae-note" }, note)),
    rows: { logP: logP.row, kl: kl.row, elbo: elbo.row },
    clear() { for (const { value } of [logP, kl, elbo]) value.textContent = ""; },
    /** The sum of the two as they are shown, so that it adds up for the eye too. @param {{ logP: number, kl: number }} reading */
    show(reading) {
      const [shownLogP, shownKl] = [reading.logP, reading.kl].map(v => Math.round(10 * v) / 10);
      const shown = { logP: shownLogP, kl: shownKl, elbo: shownLogP - shownKl };
      logP.value.textContent = minus(shown.logP, 1);
      kl.value.textContent = minus(shown.kl, 1);
      elbo.value.textContent = minus(shown.elbo, 1);
      return shown;
    },
  };
}

/** @param {string} kind */
function ellipse(kind) { return makeSvg("ellipse", { class: kind }); }

/** @param {SVGElement} element @param {{ cx?: number, cy?: number, rx?: number, ry?: number, r?: number }} where */
function place(element, { cx, cy, rx, ry, r }) {
  for (const [name, value] of Object.entries({ cx, cy, rx, ry, r })) {
    if (value !== undefined) element.setAttribute(name, value.toFixed(2));
  }
}

const WINDOWS = [0.1, 0.2, 0.5, 1, 2, 5]; // from the middle of the close-up to its edge: the first that q fits into

/** @param {number[]} sigma */
function windowFor(sigma) {
  return WINDOWS.find(reach => 2.5 * Math.max(...sigma) <= reach) ?? WINDOWS[WINDOWS.length - 1];
}

// q around its mean: ellipses of one and two standard deviations, draws, and z.
function closeUp() {
  const size = 160, noise = Array.from({ length: 40 }, () => gaussianNoise(2));
  const dots = noise.map(() => makeSvg("circle", { class: "vae-q-draw", r: 1.2 }));
  const z = makeSvg("circle", { class: "vae-z", r: 3.5 });
  const rings = [1, 2].map(() => ellipse("vae-q")), mean = makeSvg("path", { class: "vae-q-mean" });
  const svg = makeSvg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", class: "vae-lens" },
                   ...rings, ...dots, mean, z);
  mean.setAttribute("d", `M${size / 2 - 4} ${size / 2}h8M${size / 2} ${size / 2 - 4}v8`);
  const width = make("span", {});
  return {
    box: make("div", { class: "vae-digit-box" }, svg,
              make("div", { class: "vae-digit-caption" }, math("q(z|x)"), " close up, ", width, " wide in ", math("z"))),
    /** @param {Reading} reading */
    show({ sigma, epsilon }) {
      const reach = windowFor(sigma), scale = size / 2 / reach;
      const at = (/** @type {number[]} */ [a, b]) => ({ cx: size / 2 + a * sigma[0] * scale, cy: size / 2 - b * sigma[1] * scale });
      const [rx, ry] = sigma.map(s => s * scale);
      rings.forEach((ring, i) => place(ring, { ...at([0, 0]), rx: (i + 1) * rx, ry: (i + 1) * ry }));
      dots.forEach((dot, i) => place(dot, at(noise[i])));
      place(z, at(epsilon));
      width.textContent = String(2 * reach);
      const spread = sigma.map(s => s.toFixed(3)).join(" and ");
      svg.setAttribute("aria-label", `Close-up of q: standard deviations ${spread}; z lies ` +
        `${epsilon.map(v => minus(v)).join(" and ")} of them from the mean`);
    },
  };
}

/**
 * The plane with q as its ellipse of two standard deviations in the frame of the close-up. A click takes the test digit
 * whose code lies nearest.
 * @param {PlaneSettings & { pick: (k: number) => void }} options
 */
function planeOfQ({ limit, radius, codes, labels, pick }) {
  const nearestCode = (/** @type {number[]} */ z) => {
    const far = codes.map(([a, b]) => Math.hypot(a - z[0], b - z[1]));
    return far.indexOf(Math.min(...far));
  };
  const pad = plane({ limit, radius, codes, labels, onClick: z => pick(nearestCode(z)) });
  const frame = makeSvg("rect", { class: "vae-q-frame" }), ring = ellipse("vae-q");
  const z = makeSvg("circle", { class: "vae-z", r: 2 });
  pad.over.append(frame, ring, z);
  pad.svg.querySelector(".vae-point").remove(); // its ring would hide q
  const words = make("p", { class: "vae-note" });
  const pair = (/** @type {number[]} */ numbers) => `(${numbers.map(v => minus(v)).join(", ")})`;
  return {
    pad,
    box: make("div", { class: "vae-on-plane" }, pad.box, words, planeToggles(pad)),
    /** @param {Reading | null} reading */
    show(reading) {
      pad.over.style.display = reading ? "" : "none";
      words.textContent = "";
      const what = "Plane of two latents with decoded digits and codes of test digits";
      if (!reading) return pad.svg.setAttribute("aria-label", what);
      const { mu, sigma } = reading, reach = windowFor(sigma), centre = { cx: pad.at(mu[0]), cy: pad.up(mu[1]) };
      place(ring, { ...centre, rx: 2 * sigma[0] * pad.scale, ry: 2 * sigma[1] * pad.scale });
      place(z, { cx: pad.at(reading.z[0]), cy: pad.up(reading.z[1]) });
      const corner = { x: centre.cx - reach * pad.scale, y: centre.cy - reach * pad.scale };
      for (const [name, value] of Object.entries(corner)) frame.setAttribute(name, value.toFixed(2));
      for (const name of ["width", "height"]) frame.setAttribute(name, (2 * reach * pad.scale).toFixed(2));
      words.append(make("span", { class: "vae-of-q" }, math("μ"), ` = ${pair(mu)} `, math("σ"), ` = ${pair(sigma)}`),
                   make("span", { class: "vae-of-p" }, math("z"), ` = ${pair(reading.z)}`));
      const far = mu.some(m => Math.abs(m) > limit) ? ", outside of what is shown" : "";
      pad.svg.setAttribute("aria-label", `${what}; q has its mean at ${pair(mu)}${far}`);
    },
  };
}
