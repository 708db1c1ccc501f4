// @ts-check
// What the ELBO gap viewer shows: curves, two bars, and a table of the terms.

import { freshId, make, makeSvg, minus } from "./controls.js";

/** @import { Grid, Posterior, Terms } from "./types.d.ts" */

/**
 * The end of an axis from 0: it jumps, so that a growing curve or bar is seen to grow.
 * @param {number} value @param {number[]} steps
 */
function axisEnd(value, ...steps) {
  const ten = 10 ** Math.floor(Math.log10(value / steps[0]));
  return [1, 10].flatMap(scale => steps.map(s => tidy(s * ten * scale))).find(roof => roof >= value);
}

/** 6, not 6.000000000000001. @param {number} number */
function tidy(number) { return Number(number.toPrecision(6)); }

/**
 * Letters are in italics; what stands in an array of its own is upright.
 * @param {(string | [string])[]} parts
 */
function formula(...parts) {
  return make("span", { class: "vae-symbol" }, ...parts.map(p => (Array.isArray(p) ? p[0] : make("i", {}, p))));
}

/**
 * A line through all points without corners: each piece leaves its end along the line between that end's neighbours.
 * @param {number[][]} points
 */
function smoothPath(points) {
  const at = (/** @type {number} */ i) => points[Math.max(0, Math.min(points.length - 1, i))];
  return points.map((p, i) => {
    if (i === 0) return `M${p[0].toFixed(1)} ${p[1].toFixed(2)}`;
    const [a, b, c] = [at(i - 2), at(i - 1), at(i + 1)];
    return `C${[0, 1].map(k => (b[k] + (p[k] - a[k]) / 6).toFixed(2)).join(" ")} ` +
           `${[0, 1].map(k => (p[k] - (c[k] - b[k]) / 6).toFixed(2)).join(" ")} ${p[0].toFixed(1)} ${p[1].toFixed(2)}`;
  }).join("");
}

/** @param {Grid} grid */
export function densityCurves({ z, prior }) {
  const far = 4, [w, h, left, top, low] = [320, 204, 26, 8, 18];
  const near = Array.from(z.keys()).filter(i => Math.abs(z[i]) <= far + 1e-9);
  const at = (/** @type {number} */ v) => left + (v + far) / (2 * far) * (w - left - 4);
  const lines = ["grey", "ink", "blue"].map(c => makeSvg("path", { class: `vae-gap-curve vae-gap-${c}` }));
  const ticks = makeSvg("g", {}), name = make("span", { class: "vae-symbol" });
  const svg = makeSvg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", class: "vae-gap-plot" },
    ...[-4, -2, 0, 2].map(v => makeSvg("text", { x: at(v), y: h - 4, class: "vae-gap-middle" }, minus(v, 0))),
    makeSvg("text", { x: at(far) - 6, y: h - 4, class: "vae-gap-axis" }, "z"),
    makeSvg("path", { class: "vae-gap-frame", d: `M${left} 0V${h - low}H${w}` }), ticks, ...lines);
  const key = (/** @type {string} */ style, /** @type {Node} */ words) => make("span", { class: "vae-gap-key" },
    makeSvg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" },
      makeSvg("path", { class: `vae-gap-curve ${style}`, d: "M0 4H22" })), words);
  return {
    box: make("div", {}, svg, make("div", { class: "vae-gap-keys" },
      key("vae-gap-blue", make("span", {}, formula("q"), name)),
      key("vae-gap-ink", formula("p", ["("], "z", ["|"], "x", [")"])),
      key("vae-gap-grey", formula("p", ["("], "z", [")"])))),
    /** @param {Float64Array} q @param {Posterior} posterior @param {string} words */
    show(q, posterior, words) {
      const roof = axisEnd(1.08 * Math.max(...q, ...posterior.density), 1, 2, 5);
      const up = (/** @type {number} */ v) => h - low - (h - low - top) * v / roof;
      [prior, posterior.density, q].forEach((density, k) => lines[k].setAttribute("d",
        smoothPath(near.map(i => [at(z[i]), up(density[i])]))));
      ticks.replaceChildren(...[0, 0.5, 1].map(share => makeSvg("text", { x: left - 5, class: "vae-gap-end",
        y: up(share * roof) + (share ? 4 : 0) }, String(tidy(share * roof)))));
      name.textContent = ` = ${words}`;
      svg.setAttribute("aria-label", `Curves over z of the true posterior${posterior.name && ` for ${posterior.name}`}, ` +
                       `of the prior, and of q, which is ${words}`);
    },
  };
}

/** @param {string} id @param {string} line @param {string} colour */
function hatch(id, line, colour) {
  return makeSvg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" },
    makeSvg("path", { d: line, class: `vae-gap-hatch ${colour}` }));
}

// Left: minus the reconstruction, and on it the KL to the prior. Right: -log p(x), and on it the gap.
export function costBars() {
  const [w, h, left, low] = [128, 240, 30, 4];
  const id = freshId("vae-hatch");
  /** @param {number} x @param {string} term @param {string} colour */
  const box = (x, term, colour, fill = "none") =>
    makeSvg("rect", { x, width: 40, class: `vae-gap-part ${colour}`, "data-term": term, fill });
  const rects = [box(left + 6, "reconstruction", "vae-gap-orange", "var(--decoder)"),
                 box(left + 6, "klToPrior", "vae-gap-grey", `url(#${id}-dots)`),
                 box(left + 54, "logEvidence", "vae-gap-ink"),
                 box(left + 54, "gap", "vae-gap-blue", `url(#${id}-lines)`)];
  const ticks = makeSvg("g", {});
  const svg = makeSvg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", class: "vae-gap-plot" },
    makeSvg("defs", {}, hatch(`${id}-dots`, "M3 2.2V3.8", "vae-gap-grey"),
      hatch(`${id}-lines`, "M-1 7L7 -1M-1 1L1 -1M5 7L7 5", "vae-gap-blue")),
    makeSvg("path", { class: "vae-gap-frame", d: `M${left} 0V${h - low}H${w}` }), ticks, ...rects);
  return {
    svg,
    /** @param {Terms} terms */
    show({ reconstruction, klToPrior, logEvidence, gap, elbo }) {
      const roof = axisEnd(Math.max(-elbo, gap - logEvidence), 6, 12, 24), scale = (h - low - 8) / roof;
      const stack = [[0, -reconstruction], [-reconstruction, klToPrior], [0, -logEvidence], [-logEvidence, gap]];
      stack.forEach(([from, size], k) => {
        rects[k].setAttribute("y", String(h - low - (from + size) * scale));
        rects[k].setAttribute("height", String(Math.max(0, size) * scale));
      });
      ticks.replaceChildren(...[0, 1, 2, 3].map(third => makeSvg("text", { x: left - 5, class: "vae-gap-end",
        y: h - low - third / 3 * roof * scale + (third ? 4 : 0) }, String(tidy(third / 3 * roof)))));
      svg.setAttribute("aria-label", `Two bars, both ${minus(-elbo)} nats high, which is minus the ELBO. Left: ` +
        `minus the reconstruction, ${minus(-reconstruction)}, and on it the KL to the prior, ${minus(klToPrior)}. ` +
        `Right: minus log p of x, ${minus(-logEvidence)}, and on it the gap, ${minus(gap)}.`);
    },
  };
}

export function termsTable() {
  /** @param {string | null} style @param {string} term @param {Node[]} words */
  const row = (style, term, ...words) => {
    const value = make("td", { "data-term": term });
    const swatch = make("td", {}, style && make("span", { class: `vae-gap-swatch ${style}`, "aria-hidden": "true" }));
    const name = make("th", { scope: "row" }, ...words);
    return { term, value, row: make("tr", { class: style ? null : "vae-gap-sum" }, swatch, name, value) };
  };
  const kl = (/** @type {(string | [string])[]} */ ...second) => formula(["KL("], "q", [" ‖ "], "p", ["("], ...second, ["))"]);
  const left = [row("vae-gap-fill vae-gap-orange", "reconstruction", formula(["−E"]), make("sub", {}, formula("q")),
                    formula(["[log "], "p", ["("], "x", ["|"], "z", [")]"])),
                row("vae-gap-dots vae-gap-grey", "klToPrior", kl("z")), row(null, "elbo", formula(["−ELBO"]))];
  const right = [row("vae-gap-ink", "logEvidence", formula(["−log "], "p", ["("], "x", [")"])),
                 row("vae-gap-lines vae-gap-blue", "gap", kl("z", ["|"], "x")),
                 row(null, "elbo", formula(["−ELBO"]))];
  return {
    table: make("table", { class: "vae-gap-table" }, make("caption", {}, "in nats"),
                make("tbody", {}, ...left.map(r => r.row)), make("tbody", {}, ...right.map(r => r.row))),
    /** @param {Terms} terms */
    show(terms) {
      const round = (/** @type {number} */ v) => Math.round(1000 * v) / 1000; // a KL is a difference: the sums hold as shown
      const [elbo, reconstruction, logEvidence] = [terms.elbo, terms.reconstruction, terms.logEvidence].map(v => round(-v));
      /** @type {Record<string, number>} */
      const shown = { elbo, reconstruction, logEvidence, klToPrior: elbo - reconstruction, gap: elbo - logEvidence };
      for (const { term, value } of [...left, ...right]) value.textContent = minus(shown[term], 3);
    },
  };
}
