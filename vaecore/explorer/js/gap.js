// The gap between log p(x) and the ELBO: a Gaussian q under the hand, beside the true posterior of one x.

ROOM.gap = () => [40.6, 24.8];
KINDS.gap = async function (view) {
  const { posteriors, limit, narrowest, widest, start } = view.settings;
  const grid = gapGrid(view.settings);
  const problems = posteriors.map(({ name, log_joint, gaussian }) => gapProblem(grid, name, log_joint, gaussian));
  const put = (mu, sigma) => view.set({ mu, sigma });
  const current = () => problems.find(p => p.name === view.get("posterior"));
  const mean = slider({ label: symbol("μ"), name: "μ, the mean of q", min: -limit, max: limit,
                        onInput: value => view.set("mu", value) });
  const width = slider({ label: symbol("σ"), name: "σ, the standard deviation of q", min: narrowest, max: widest,
                         onInput: value => view.set("sigma", value) });
  const curves = gapCurves(grid), bars = gapBars(), numbers = gapNumbers();
  const exact = button(["q = the posterior"], () => put(...current().gaussian));
  const best = button("climb from here", () => put(...gapBest(grid, current(), view)));
  const names = problems.length < 2 ? null : choice("model: ", problems.map(p => [p.name, p.name]),
                                                    name => view.set("posterior", name));
  if (names) view.root.append(make("div", { class: "vae-buttons" }, names.row));
  view.root.append(make("div", { class: "vae-columns vae-gap" },
      make("div", {}, curves.box, make("div", { class: "vae-sliders" }, mean.row, width.row),
        make("div", { class: "vae-buttons" }, exact, best, button("reset", () => put(...start)))),
      make("div", { class: "vae-gap-bars" }, bars.svg, numbers.table)));

  view.watch(["mu", "sigma", "posterior"], () => {
    const mu = view.get("mu"), sigma = view.get("sigma"), problem = current();
    if (!problem) throw new Error(`There is no posterior named ${view.get("posterior")} here.`);
    const finite = Number.isFinite(mu) && Number.isFinite(sigma);
    if (!finite || Math.abs(mu) > limit || sigma < narrowest || sigma > widest) {
      throw new Error(`mu must lie from ${minus(-limit, 0)} to ${limit}, sigma from ${narrowest} to ${widest}; ` +
                      `got ${mu} and ${sigma}.`);
    }
    const terms = gapTerms(grid, problem, mu, sigma);
    const q = `N(${minus(mu)}, ${minus(sigma ** 2)})`;
    mean.set(mu);
    width.set(sigma);
    exact.hidden = !problem.gaussian;
    best.hidden = !exact.hidden;
    if (names) names.select.value = problem.name;
    curves.show(terms.q, problem, q);
    numbers.show(terms);
    bars.show(terms);
    const [elbo, gap, evidence] = [terms.elbo, terms.gap, terms.logEvidence].map(v => minus(v));
    view.say(`q is ${q}: ELBO ${elbo}, gap ${gap}, log p of x ${evidence} nats`);
  });
};

const LOG_2_PI = Math.log(2 * Math.PI);

function gapGrid({ ends: [from, to], posteriors }) {
  const n = posteriors[0].log_joint.length, step = (to - from) / (n - 1);
  const z = Float64Array.from({ length: n }, (_, i) => from + i * step);
  const logPrior = z.map(v => -0.5 * (LOG_2_PI + v * v));
  // The trapezoid rule: the two ends count for half.
  const sum = f => {
    let total = (f(0) + f(n - 1)) / 2;
    for (let i = 1; i < n - 1; i++) total += f(i);
    return total * step;
  };
  return { z, logPrior, prior: logPrior.map(Math.exp), sum };
}

function gapProblem({ z, sum }, name, logJoint, gaussian) {
  if (logJoint.length !== z.length || !logJoint.every(Number.isFinite)) {
    throw new Error(`The posterior ${name} of this explorer must be ${z.length} finite numbers.`);
  }
  const top = Math.max(...logJoint), logEvidence = Math.log(sum(i => Math.exp(logJoint[i] - top))) + top;
  return { name, logJoint, gaussian, logEvidence, posterior: logJoint.map(v => Math.exp(v - logEvidence)) };
}

// The four terms of the derivation's last line, and the ELBO, in nats.
function gapTerms({ z, logPrior, sum }, { logJoint, logEvidence }, mu, sigma) {
  const logQ = z.map(v => -0.5 * (LOG_2_PI + ((v - mu) / sigma) ** 2) - Math.log(sigma)), q = logQ.map(Math.exp);
  const reconstruction = sum(i => q[i] * (logJoint[i] - logPrior[i]));
  const klToPrior = sum(i => q[i] * (logQ[i] - logPrior[i]));
  const gap = sum(i => q[i] * (logQ[i] - logJoint[i] + logEvidence));
  return { q, reconstruction, klToPrior, gap, logEvidence, elbo: reconstruction - klToPrior };
}

// Climbs from the q of this moment to the nearest top of the ELBO, in steps that get smaller.
function gapBest(grid, problem, view) {
  const { limit, narrowest, widest } = view.settings;
  const clip = (v, low, high) => Math.round(Math.min(high, Math.max(low, v)) * 1e4) / 1e4;
  let mu = view.get("mu"), sigma = view.get("sigma"), elbo = gapTerms(grid, problem, mu, sigma).elbo;
  for (let step = 0.2; step > 1e-4; ) {
    const around = [[step, 0], [-step, 0], [0, step], [0, -step]].map(([a, b]) => {
      const q = [clip(mu + a, -limit, limit), clip(sigma + b, narrowest, widest)];
      return [gapTerms(grid, problem, ...q).elbo, ...q];
    });
    const top = around.reduce((a, b) => (b[0] > a[0] ? b : a));
    if (top[0] > elbo + 1e-12) [elbo, mu, sigma] = top;
    else step /= 2;
  }
  return [mu, sigma];
}

// The end of an axis from 0: it jumps, so that a growing curve or bar is seen to grow.
function gapRoof(value, ...steps) {
  const ten = 10 ** Math.floor(Math.log10(value / steps[0]));
  return [1, 10].flatMap(scale => steps.map(s => gapRound(s * ten * scale))).find(roof => roof >= value);
}

function gapRound(number) { return Number(number.toPrecision(6)); } // 6, not 6.000000000000001

function gapMath(...parts) { // letters are in italics, what stands in [ ] of its own array is upright
  return make("span", { class: "vae-symbol" }, ...parts.map(p => (Array.isArray(p) ? p[0] : make("i", {}, p))));
}

// A line through all points without corners: each piece leaves its end along the line between that end's neighbours.
function gapSmooth(points) {
  const at = i => points[Math.max(0, Math.min(points.length - 1, i))];
  return points.map((p, i) => {
    if (i === 0) return `M${p[0].toFixed(1)} ${p[1].toFixed(2)}`;
    const [a, b, c] = [at(i - 2), at(i - 1), at(i + 1)];
    return `C${[0, 1].map(k => (b[k] + (p[k] - a[k]) / 6).toFixed(2)).join(" ")} ` +
           `${[0, 1].map(k => (p[k] - (c[k] - b[k]) / 6).toFixed(2)).join(" ")} ${p[0].toFixed(1)} ${p[1].toFixed(2)}`;
  }).join("");
}

function gapCurves({ z, prior }) {
  const far = 4, [w, h, left, top, low] = [320, 204, 26, 8, 18];
  const near = Array.from(z.keys()).filter(i => Math.abs(z[i]) <= far + 1e-9);
  const at = v => left + (v + far) / (2 * far) * (w - left - 4);
  const lines = ["grey", "ink", "blue"].map(c => draw("path", { class: `vae-gap-curve vae-gap-${c}` }));
  const ticks = draw("g", {}), name = make("span", { class: "vae-symbol" });
  const svg = draw("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", class: "vae-gap-plot" },
    ...[-4, -2, 0, 2].map(v => draw("text", { x: at(v), y: h - 4, class: "vae-gap-middle" }, minus(v, 0))),
    draw("text", { x: at(far) - 6, y: h - 4, class: "vae-gap-axis" }, "z"),
    draw("path", { class: "vae-gap-frame", d: `M${left} 0V${h - low}H${w}` }), ticks, ...lines);
  const key = (style, words) => make("span", { class: "vae-gap-key" },
    draw("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" },
      draw("path", { class: `vae-gap-curve ${style}`, d: "M0 4H22" })), words);
  return {
    box: make("div", {}, svg, make("div", { class: "vae-gap-keys" },
      key("vae-gap-blue", make("span", {}, gapMath("q"), name)),
      key("vae-gap-ink", gapMath("p", ["("], "z", ["|"], "x", [")"])),
      key("vae-gap-grey", gapMath("p", ["("], "z", [")"])))),
    show(q, problem, words) {
      const roof = gapRoof(1.08 * Math.max(...q, ...problem.posterior), 1, 2, 5);
      const up = v => h - low - (h - low - top) * v / roof;
      [prior, problem.posterior, q].forEach((density, k) => lines[k].setAttribute("d",
        gapSmooth(near.map(i => [at(z[i]), up(density[i])]))));
      ticks.replaceChildren(...[0, 0.5, 1].map(share => draw("text", { x: left - 5, class: "vae-gap-end",
        y: up(share * roof) + (share ? 4 : 0) }, String(gapRound(share * roof)))));
      name.textContent = ` = ${words}`;
      svg.setAttribute("aria-label", `Curves over z of the true posterior${problem.name && ` for ${problem.name}`}, ` +
                       `of the prior, and of q, which is ${words}`);
    },
  };
}

let gapCounter = 0;

function gapHatch(id, line, colour) {
  return draw("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" },
    draw("path", { d: line, class: `vae-gap-hatch ${colour}` }));
}

// Left: minus the reconstruction, and on it the KL to the prior. Right: -log p(x), and on it the gap.
function gapBars() {
  const [w, h, left, low] = [128, 240, 30, 4];
  const id = `vae-hatch-${++gapCounter}-${Math.random().toString(36).slice(2, 8)}`;
  const box = (x, term, colour, fill = "none") =>
    draw("rect", { x, width: 40, class: `vae-gap-part ${colour}`, "data-term": term, fill });
  const rects = [box(left + 6, "reconstruction", "vae-gap-orange", "var(--decoder)"),
                 box(left + 6, "klToPrior", "vae-gap-grey", `url(#${id}-dots)`),
                 box(left + 54, "logEvidence", "vae-gap-ink"),
                 box(left + 54, "gap", "vae-gap-blue", `url(#${id}-lines)`)];
  const ticks = draw("g", {});
  const svg = draw("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", class: "vae-gap-plot" },
    draw("defs", {}, gapHatch(`${id}-dots`, "M3 2.2V3.8", "vae-gap-grey"),
      gapHatch(`${id}-lines`, "M-1 7L7 -1M-1 1L1 -1M5 7L7 5", "vae-gap-blue")),
    draw("path", { class: "vae-gap-frame", d: `M${left} 0V${h - low}H${w}` }), ticks, ...rects);
  return {
    svg,
    show({ reconstruction, klToPrior, logEvidence, gap, elbo }) {
      const roof = gapRoof(Math.max(-elbo, gap - logEvidence), 6, 12, 24), scale = (h - low - 8) / roof;
      const stack = [[0, -reconstruction], [-reconstruction, klToPrior], [0, -logEvidence], [-logEvidence, gap]];
      stack.forEach(([from, size], k) => {
        rects[k].setAttribute("y", h - low - (from + size) * scale);
        rects[k].setAttribute("height", Math.max(0, size) * scale);
      });
      ticks.replaceChildren(...[0, 1, 2, 3].map(third => draw("text", { x: left - 5, class: "vae-gap-end",
        y: h - low - third / 3 * roof * scale + (third ? 4 : 0) }, String(gapRound(third / 3 * roof)))));
      svg.setAttribute("aria-label", `Two bars, both ${minus(-elbo)} nats high, which is minus the ELBO. Left: ` +
        `minus the reconstruction, ${minus(-reconstruction)}, and on it the KL to the prior, ${minus(klToPrior)}. ` +
        `Right: minus log p of x, ${minus(-logEvidence)}, and on it the gap, ${minus(gap)}.`);
    },
  };
}

function gapNumbers() {
  const row = (style, term, ...words) => {
    const value = make("td", { "data-term": term });
    const swatch = make("td", {}, style && make("span", { class: `vae-gap-swatch ${style}`, "aria-hidden": "true" }));
    const name = make("th", { scope: "row" }, ...words);
    return { term, value, row: make("tr", { class: style ? null : "vae-gap-sum" }, swatch, name, value) };
  };
  const kl = (...second) => gapMath(["KL("], "q", [" ‖ "], "p", ["("], ...second, ["))"]);
  const left = [row("vae-gap-fill vae-gap-orange", "reconstruction", gapMath(["−E"]), make("sub", {}, gapMath("q")),
                    gapMath(["[log "], "p", ["("], "x", ["|"], "z", [")]"])),
                row("vae-gap-dots vae-gap-grey", "klToPrior", kl("z")), row(null, "elbo", gapMath(["−ELBO"]))];
  const right = [row("vae-gap-ink", "logEvidence", gapMath(["−log "], "p", ["("], "x", [")"])),
                 row("vae-gap-lines vae-gap-blue", "gap", kl("z", ["|"], "x")),
                 row(null, "elbo", gapMath(["−ELBO"]))];
  return {
    table: make("table", { class: "vae-gap-table" }, make("caption", {}, "in nats"),
                make("tbody", {}, ...left.map(r => r.row)), make("tbody", {}, ...right.map(r => r.row))),
    show(terms) {
      const round = v => Math.round(1000 * v) / 1000; // and KLs as differences, so that the sums hold for the eye too
      const shown = { elbo: round(-terms.elbo), reconstruction: round(-terms.reconstruction),
                      logEvidence: round(-terms.logEvidence) };
      shown.klToPrior = shown.elbo - shown.reconstruction;
      shown.gap = shown.elbo - shown.logEvidence;
      for (const { term, value } of [...left, ...right]) value.textContent = minus(shown[term], 3);
    },
  };
}
