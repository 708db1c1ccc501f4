// @ts-check
// One knob, beta: the plane, the picture at the ring, and the ELBO's two terms, of the VAE that was trained with it.

import { button, digitPicture, make, math, minus, slider, symbol } from "./controls.js";
import { elboSum } from "./digit.js";
import { decodeMean } from "./network.js";
import { paintManifold, plane, planeToggles } from "./plane.js";
import { latentSliders, latentsOf, priorDraw } from "./sliders.js";

/** @import { BetaSettings, Kind } from "./types.d.ts" */

/** @type {Kind<BetaSettings>} */
export const beta = {
  room: () => [50.3, 30.3],

  async show(view) {
    const { limit, radius, betas, terms, codes, labels, n_test: nTest } = view.settings;
    const decoders = await Promise.all(betas.map((_, k) => view.network(`decoder (${k})`)));
    const chosen = () => {
      const k = betas.indexOf(view.get("beta"));
      if (k < 0) throw new Error(`beta must be one of ${betas.join(", ")}; got ${view.get("beta")}.`);
      return k;
    };
    const decode = (/** @type {number[]} */ z) => decodeMean(decoders[chosen()], z);
    const knob = slider({ label: symbol("β"), name: "β, the weight of the KL in training", min: 0, max: betas.length - 1,
                          step: 1, words: k => String(betas[k]), onInput: k => view.set("beta", betas[k]) });
    const pad = plane({ limit, radius, codes: codes[chosen()], labels, onMove: z => view.set("z", z) });
    const digit = digitPicture(["decoded from ", math("z")]);
    const sum = elboSum(make("span", {}, "mean of ", math("log p_θ(x|z)")), ["ELBO"],
                        `means over ${nTest.toLocaleString("en")} test digits, in nats`);
    const sliders = latentSliders(view, { order: [0, 1], kl: [], first: 2 }, () => view.get("z"));
    const buttons = make("div", { class: "vae-buttons" },
      button("draw z from the prior", () => view.set("z", priorDraw(2, limit))),
      button("reset", () => view.set("z", [0, 0])));
    view.root.append(make("div", { class: "vae-sliders" }, knob.row), make("div", { class: "vae-columns vae-beta" },
      make("div", {}, pad.box, planeToggles(pad)),
      make("div", { class: "vae-side" }, sum.box, digit.box, make("div", {}, sliders.box, buttons))));
    const paint = paintManifold(view, pad, decode, limit);

    view.watch(["beta"], () => {
      const k = chosen();
      knob.set(k);
      pad.showCodes(codes[k]);
      sum.show({ logP: terms[k].log_likelihood, kl: terms[k].kl });
      paint();
    });
    view.watch(["beta", "z"], () => {
      const z = latentsOf(view), at = `z = (${z.map(v => minus(v)).join(", ")})`, { log_likelihood: logP, kl } = terms[chosen()];
      digit.show(decode(z), `Decoded digit at ${at}, β is ${view.get("beta")}`);
      sliders.show(z);
      pad.show(z, `Plane of two latents with decoded digits and codes of test digits, β is ${view.get("beta")}; the point ` +
                  `is at ${at}`);
      view.say(`β is ${view.get("beta")}: log p of x given z ${minus(logP, 1)}, the KL ${minus(kl, 1)} nats; ${at}`);
    });
  },
};
