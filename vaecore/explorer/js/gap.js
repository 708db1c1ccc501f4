// @ts-check
// The gap between log p(x) and the ELBO: a Gaussian q under the hand, next to the true posterior of one x.

import { button, choice, make, minus, slider, symbol } from "./controls.js";
import { costBars, densityCurves, termsTable } from "./gap_pictures.js";
import { climb, gridOf, posteriorOn, termsOf } from "./gap_terms.js";

/** @import { GapSettings, Kind } from "./types.d.ts" */

/** @type {Kind<GapSettings>} */
export const gap = {
  room: () => [40.6, 24.8],

  async show(view) {
    const { limit, narrowest, widest, start } = view.settings;
    const grid = gridOf(view.settings), posteriors = view.settings.posteriors.map(one => posteriorOn(grid, one));
    const put = (/** @type {number[]} */ [mu, sigma]) => view.set({ mu, sigma });
    const current = () => posteriors.find(p => p.name === view.get("posterior"));
    const mean = slider({ label: symbol("μ"), name: "μ, the mean of q", min: -limit, max: limit,
                          onInput: value => view.set("mu", value) });
    const width = slider({ label: symbol("σ"), name: "σ, the standard deviation of q", min: narrowest, max: widest,
                           onInput: value => view.set("sigma", value) });
    const curves = densityCurves(grid), bars = costBars(), numbers = termsTable();
    const exact = button("q = the posterior", () => put(current().gaussian));
    const uphill = button("climb from here", () =>
      put(climb(grid, current(), view.settings, view.get("mu"), view.get("sigma"))));
    const names = posteriors.length < 2 ? null : choice("model: ", posteriors.map(p => [p.name, p.name]),
                                                        name => view.set("posterior", name));
    if (names) view.root.append(make("div", { class: "vae-buttons" }, names.row));
    view.root.append(make("div", { class: "vae-columns vae-gap" },
      make("div", {}, curves.box, make("div", { class: "vae-sliders" }, mean.row, width.row),
        make("div", { class: "vae-buttons" }, exact, uphill, button("reset", () => put(start)))),
      make("div", { class: "vae-gap-bars" }, bars.svg, numbers.table)));

    view.watch(["mu", "sigma", "posterior"], () => {
      const mu = view.get("mu"), sigma = view.get("sigma"), posterior = current();
      if (!posterior) throw new Error(`There is no posterior named ${view.get("posterior")} here.`);
      const finite = Number.isFinite(mu) && Number.isFinite(sigma);
      if (!finite || Math.abs(mu) > limit || sigma < narrowest || sigma > widest) {
        throw new Error(`mu must lie from ${minus(-limit, 0)} to ${limit}, sigma from ${narrowest} to ${widest}; ` +
                        `got ${mu} and ${sigma}.`);
      }
      const terms = termsOf(grid, posterior, mu, sigma);
      const q = `N(${minus(mu)}, ${minus(sigma ** 2)})`;
      mean.set(mu);
      width.set(sigma);
      exact.hidden = !posterior.gaussian;
      uphill.hidden = !exact.hidden;
      if (names) names.select.value = posterior.name;
      curves.show(terms.q, posterior, q);
      numbers.show(terms);
      bars.show(terms);
      const [elbo, toClose, evidence] = [terms.elbo, terms.gap, terms.logEvidence].map(v => minus(v));
      view.say(`q is ${q}: ELBO ${elbo}, gap ${toClose}, log p of x ${evidence} nats`);
    });
  },
};
