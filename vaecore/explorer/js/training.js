// @ts-check
// A VAE that learns in front of the reader: its latent plane, a digit, samples, and the two terms of the ELBO as they
// go. The trainer learns; this shows.

import { textOf } from "./blobs.js";
import { button, choice, digitPicture, make, makeSvg, math, minus, slider, symbol, toggle } from "./controls.js";
import { elboSum } from "./digit.js";
import { drawingPad } from "./digits.js";
import { paintManifold, plane } from "./plane.js";
import { normalise, SIDE } from "./strokes.js";
import { startTrainer } from "./trainer.js";

/** @import { Kind, Shown, TrainingSettings } from "./types.d.ts" */
/** @import { Line } from "./strokes.js" */
/** @import { View } from "./view.js" */

const TILES = 12; // along each side of the decoded plane
const SPEEDS = [["0", "full speed"], ["100", "10 steps a second"], ["1000", "1 step a second"]];
const OWN = 40; // how often a drawing goes into the training digits: one among 2,000 would hardly be seen

/** @type {Kind<TrainingSettings>} */
export const training = {
  room: () => [89, 61],

  async show(view) {
    const { limit, radius, shape, seed, labels, mistakes, machines } = view.settings, dX = shape[0] * shape[1];
    const [pictures, test] = await Promise.all([view.images("pictures"), view.images("test digits")]);
    const bits = test.map(greys => Float64Array.from(greys, v => (v > 127 ? 1 : 0)));
    let followed = Math.max(0, labels.indexOf(4)), /** @type {Float64Array} */ digit = bits[followed];
    const /** @type {Uint8Array[]} */ mine = []; // the reader's own drawings, which a reset keeps
    let /** @type {Shown | null} */ shown = null, playing = false, sizes = { dX, width: 0, dZ: 0 }, waiting = 0;

    const trainer = startTrainer(report => view.guard(() => {
      if (report.learned) view.set("learned", { ...report.learned, weights: textOf(bytesOfFloats(report.learned.weights)) });
      if (!report.shown) return;
      const before = shown;
      shown = report.shown;
      shown.plane ??= before && before.steps <= shown.steps ? before.plane : null;
      if (!waiting) waiting = requestAnimationFrame(() => view.guard(paint));
    }));
    view.cleanups.push(() => trainer.end(), () => cancelAnimationFrame(waiting));

    // --- what is shown

    const tile = (/** @type {number[]} */ [a, b]) => {
      const column = Math.floor((a / limit + 1) / 2 * TILES), row = Math.floor((1 - b / limit) / 2 * TILES);
      const from = (row * TILES + column) * dX;
      return shown?.plane ? shown.plane.subarray(from, from + dX) : new Float32Array(dX);
    };
    const pad = plane({ limit, radius, codes: labels.map(() => [0, 0]), labels, onClick: follow });
    const repaint = paintManifold(view, pad, tile, limit, shape, TILES);
    const original = digitPicture("a test digit", shape), again = digitPicture("its reconstruction", shape);
    const samples = Array.from({ length: 6 }, () => digitPicture(null, shape));
    const sum = elboSum(math("log p_θ(x|z)"), ["ELBO"], "the last step, a mean over its 50 pictures, in nats");
    const curves = termCurves();
    const machine = make("div", { class: "vae-machine" }), count = make("p", { class: "vae-note" });
    const light = (/** @type {string} */ name) => { machine.replaceChildren(svgOf(machines[name])); };
    for (const [row, name] of /** @type {const} */ ([[sum.rows.logP, "log-likelihood"], [sum.rows.kl, "kl"], [sum.rows.elbo, "all"]])) {
      row.tabIndex = 0;
      for (const event of ["mouseenter", "focus"]) row.addEventListener(event, () => light(name));
      for (const event of ["mouseleave", "blur"]) row.addEventListener(event, () => light(mistakes[view.get("mistake")].lit));
    }

    function paint() {
      waiting = 0;
      if (!shown) return trainer.order({ painted: true }); // a reset came in between
      const { codes, mu, sigma, reconstruction, last, passes, steps, seen, ended, mean } = shown;
      if (steps && !Number.isFinite(last.logP - last.kl)) { // the pictures stay as they were
        count.textContent = `After ${steps} steps the loss is no number any more: mend the mistake, and reset.`;
      } else {
        pad.showCodes(codes);
        pad.show(mu, `The plane of the first two latents, with decoded digits and the codes of ${labels.length} test digits; ` +
                     `the ring is at the code of the digit shown, (${mu.slice(0, 2).map(v => minus(v)).join(", ")})`);
        again.show(reconstruction, "Its reconstruction, from the mean of q");
        samples.forEach((sample, k) => sample.show(shown.samples[k], `Sample ${k + 1}, decoded from a z of the prior`));
        if (shown.plane) repaint();
        if (steps) sum.show(last);
        if (mean) curves.add(passes, mean, ended);
        count.textContent = `${steps.toLocaleString("en")} steps, ${passes.toFixed(1)} passes, ` +
          `${seen.toLocaleString("en")} pictures; σ of the digit's q: ${sigma.slice(0, 2).map(v => v.toFixed(2)).join(", ")}`;
      }
      if (ended) stopped();
      trainer.order({ painted: true });
    }

    // --- what the reader does

    /** The test digit whose code is nearest. @param {number[]} z */
    function follow(z) {
      const away = (shown?.codes ?? []).map(code => Math.hypot(code[0] - z[0], code[1] - z[1]));
      pick(Math.max(0, away.indexOf(Math.min(...away))));
    }
    function pick(/** @type {number} */ k) {
      followed = k % bits.length;
      see(bits[followed], test[followed], `a test digit, a ${labels[followed]}`);
    }
    /** @param {Float64Array} x @param {Uint8Array} greys @param {string} words */
    function see(x, greys, words) {
      digit = x;
      original.show(greys, words);
      original.box.lastChild.textContent = words;
      trainer.order({ digit });
    }
    function restart() {
      sizes = { dX, width: view.get("width"), dZ: view.get("d_z") };
      shown = null;
      curves.clear();
      sum.clear();
      settle();
      trainer.order({ start: { sizes, seed, pictures: [...pictures, ...mine], codes: bits, plane: { n: TILES, limit } },
                      settings: settings(), digit });
      stopped();
    }
    const settings = () => ({ beta: view.get("beta"), rate: view.get("rate"), mistake: view.get("mistake") });
    function go(/** @type {number} */ steps) {
      playing = true;
      play.replaceChildren("pause");
      trainer.order({ steps, pause: steps > 1 ? Number(speed.select.value) : 0 });
    }
    function stopped() {
      playing = false;
      play.replaceChildren("play");
      if (!shown?.steps) return view.say("Nothing learned yet.");
      if (!Number.isFinite(shown.last.logP - shown.last.kl)) return view.say(count.textContent);
      trainer.order({ weights: true });
      view.say(`Stopped after ${shown.passes.toFixed(1)} passes: log p of x given z ${minus(shown.last.logP, 1)}, ` +
               `the KL ${minus(shown.last.kl, 1)} nats.`);
    }
    function stop() { if (playing) trainer.order({ steps: 0 }); }

    const play = button("play", () => (playing ? stop() : go(Infinity)), { class: "vae-play" });
    const speed = choice("speed ", SPEEDS, () => { if (playing) go(Infinity); });
    const buttons = make("div", { class: "vae-buttons" }, play, button("one step", () => go(1)),
      button("one pass", () => go(Math.ceil((pictures.length + mine.length) / 50))), button("reset", restart), speed.row);

    const among = (/** @type {string} */ name, /** @type {string | Node} */ label, /** @type {string} */ words,
                   /** @type {number[]} */ options) =>
      slider({ label, name: words, min: 0, max: options.length - 1, step: 1, words: k => String(options[k]),
               onInput: k => view.set(name, options[k]) });
    const { betas, rates, widths, d_zs: dZs } = view.settings;
    const knobs = {
      beta: among("beta", symbol("β"), "β, the weight of the KL", betas),
      rate: among("rate", "rate", "learning rate of Adam", rates),
      width: among("width", "width", "units of each hidden layer", widths),
      d_z: among("d_z", symbol("d", "z"), "number of latents", dZs),
    };
    const lists = { beta: betas, rate: rates, width: widths, d_z: dZs };
    const mistake = choice("mistake ", Object.entries(mistakes).map(([name, { words }]) => [name, words]),
                           name => view.set("mistake", name));
    const code = make("code", { class: "vae-code" });
    const wait = make("p", { class: "vae-note" }, "The new sizes hold from the next reset.");

    function settle() {
      wait.style.visibility = view.get("width") === sizes.width && view.get("d_z") === sizes.dZ ? "hidden" : "";
    }

    const drawing = ownDrawing((x, greys) => see(x, greys, "your drawing"), greys => {
      const add = Array(OWN).fill(greys);
      mine.push(...add);
      trainer.order({ add });
    }, shape);

    const left = make("div", {}, pad.box, make("div", { class: "vae-buttons" },
      toggle("decoded plane", true, on => { pad.canvas.hidden = !on; }),
      toggle("test digits", true, on => { pad.marks.style.display = on ? "" : "none"; })), count);
    const right = make("div", { class: "vae-side" }, make("div", {}, make("div", { class: "vae-pair" }, original.box, again.box),
      make("div", { class: "vae-buttons" }, button("next test digit", () => pick(followed + 1)))),
      make("div", {}, make("div", { class: "vae-six" }, ...samples.map(s => s.box)),
        make("div", { class: "vae-digit-caption" }, "samples, from six ", math("z"), " of the prior")), sum.box);
    view.root.append(buttons, make("div", { class: "vae-columns vae-learning" }, left, right), curves.box, machine,
      make("div", { class: "vae-knobs" }, make("div", { class: "vae-sliders" }, ...Object.values(knobs).map(k => k.row), wait),
        make("div", {}, mistake.row, make("p", {}, code))), drawing);

    view.watch(["beta", "rate", "mistake", "width", "d_z"], () => {
      for (const [name, knob] of Object.entries(knobs)) {
        const list = lists[/** @type {keyof typeof lists} */ (name)], k = list.indexOf(view.get(name));
        if (k < 0) throw new Error(`${name} must be one of ${list.join(", ")}; got ${view.get(name)}.`);
        knob.set(k);
      }
      const chosen = mistakes[view.get("mistake")];
      if (!chosen) throw new Error(`mistake must be one of ${Object.keys(mistakes).join(", ")}; got ${view.get("mistake")}.`);
      mistake.select.value = view.get("mistake");
      code.textContent = chosen.code;
      light(chosen.lit);
      settle();
      trainer.order({ settings: settings() });
    });
    pick(followed);
    restart();
    stopWhenUnseen(view, stop);
  },
};

/** A reader who has gone on pays with no battery. @param {View<any>} view @param {() => void} stop */
function stopWhenUnseen(view, stop) {
  const seen = new IntersectionObserver(([entry]) => { if (!entry.isIntersecting) stop(); });
  const hidden = () => { if (document.hidden) stop(); };
  seen.observe(view.root);
  document.addEventListener("visibilitychange", hidden);
  view.cleanups.push(() => seen.disconnect(), () => document.removeEventListener("visibilitychange", hidden));
}

/** @param {string} text */
function svgOf(text) {
  return document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
}

/** @param {Float32Array} floats */
function bytesOfFloats(floats) {
  const bytes = new DataView(new ArrayBuffer(4 * floats.length));
  floats.forEach((v, i) => bytes.setFloat32(4 * i, v, true));
  return new Uint8Array(bytes.buffer);
}

/**
 * A drawing as the training digits were made: of each square of pixels, the darkest.
 * @param {Uint8Array} greys @param {[number, number]} shape
 */
export function shrunken(greys, [height, width]) {
  const small = new Uint8Array(height * width), step = SIDE / width;
  greys.forEach((v, i) => {
    const k = Math.floor(Math.floor(i / SIDE) / step) * width + Math.floor(i % SIDE / step);
    small[k] = Math.max(small[k], v);
  });
  return small;
}

/**
 * A pad behind a fold. `onDrawn` gets the bits and the greys of each line's end, `onAdd` the greys to learn from.
 * @param {(x: Float64Array, greys: Uint8Array) => void} onDrawn @param {(greys: Uint8Array) => void} onAdd
 * @param {[number, number]} shape
 */
function ownDrawing(onDrawn, onAdd, shape) {
  /** @type {Line[]} */
  let lines = [];
  let greys = new Uint8Array(shape[0] * shape[1]), added = 0;
  const caption = make("div", { class: "vae-digit-caption" }, "drawing pad");
  const show = () => drawing.show(lines, new Uint8Array(SIDE * SIDE), lines.length === 0,
    `Drawing pad: ${lines.length ? "a drawing of yours" : "nothing drawn yet"}`);
  const drawing = drawingPad(caption, line => {
    if (!lines.includes(line)) lines.push(line);
    greys = shrunken(normalise(lines), shape);
    show();
    onDrawn(Float64Array.from(greys, v => (v > 127 ? 1 : 0)), greys);
  });
  const clear = () => {
    lines = [];
    show();
  };
  const add = button(`add it to the training digits, ${OWN} times`, () => {
    if (!lines.length) return;
    onAdd(greys);
    caption.textContent = `${++added} of your drawings ${added > 1 ? "are" : "is"} among the training digits`;
    clear();
  });
  show();
  return make("details", {}, make("summary", {}, "your own drawings"),
    make("div", { class: "vae-source" }, drawing.box, make("div", { class: "vae-buttons" }, add, button("clear", clear))));
}

/** The two terms over the passes, as areas on top of each other: together they are the negative ELBO. */
function termCurves() {
  const width = 600, height = 120, most = 240; // points; then every other one goes
  let /** @type {{ passes: number, cost: number, kl: number }[]} */ points = [], every = 1, skipped = 0, drawnAt = 0;
  const areas = { logP: makeSvg("path", { class: "vae-area-p" }), kl: makeSvg("path", { class: "vae-area-q" }) };
  const texts = { top: make("div", {}), end: make("span", {}) };
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", class: "vae-curves" },
                      areas.logP, areas.kl);
  const keys = make("div", { class: "vae-gap-keys" },
    make("span", { class: "vae-gap-key" }, make("span", { class: "vae-key-p" }), make("span", {}, "\u2212", math("log p_θ(x|z)"))),
    make("span", { class: "vae-gap-key" }, make("span", { class: "vae-key-q" }), math("KL(q_ϕ(z|x) ‖ p(z))")),
    make("span", { class: "vae-note" }, "their sum is the negative ELBO, in nats"));
  function draw() {
    const top = Math.max(1, ...points.map(p => p.cost + p.kl)), end = Math.max(1e-9, points.at(-1)?.passes ?? 1);
    const x = (/** @type {number} */ passes) => (passes / end * width).toFixed(1);
    const y = (/** @type {number} */ nats) => (height - Math.max(0, nats) / top * height).toFixed(1);
    const line = (/** @type {(p: typeof points[number]) => number} */ of) => points.map(p => `${x(p.passes)} ${y(of(p))}`);
    const area = (/** @type {string[]} */ upper, /** @type {string[]} */ lower) =>
      (points.length ? `M${upper.join("L")}L${lower.toReversed().join("L")}Z` : "");
    const cost = line(p => p.cost);
    areas.logP.setAttribute("d", area(cost, line(() => 0)));
    areas.kl.setAttribute("d", area(line(p => p.cost + p.kl), cost));
    texts.top.textContent = points.length ? `${top < 1e4 ? top.toFixed(0) : top.toExponential(0)} nats` : "";
    texts.end.textContent = points.length ? `${end.toFixed(1)} passes` : "";
    const now = points.at(-1);
    svg.setAttribute("aria-label", now ? `The two terms over ${end.toFixed(1)} passes: now ${now.cost.toFixed(1)} and ` +
      `${now.kl.toFixed(1)} nats` : "The two terms of the ELBO over the passes: nothing learned yet");
  }
  draw();
  return {
    box: make("div", { class: "vae-terms vae-note" }, texts.top, svg,
      make("div", { class: "vae-ends" }, make("span", {}, "0 passes"), texts.end), keys),
    /** @param {number} passes @param {{ logP: number, kl: number }} mean @param {boolean} now else a few times a second */
    add(passes, { logP, kl }, now) {
      if (skipped++ % every && !now) return;
      points.push({ passes, cost: -logP, kl });
      if (points.length > most) [points, every] = [points.filter((_, i) => i % 2 === 0), 2 * every];
      if (!now && performance.now() - drawnAt < 250) return;
      drawnAt = performance.now();
      draw();
    },
    clear() {
      [points, every, skipped] = [[], 1, 0];
      draw();
    },
  };
}
