// @ts-check
// Runs a learner without freezing the page: in a worker where there is one, else in the page, some steps at a time.

import { adamStep, decoded, encoded, layerBackward, layerForward, layersOf, lossGradient, newLearner, reluInPlace,
         seededNoise } from "./learner.js";

/** @import { Order, Report, Shown, StepSettings } from "./types.d.ts" */

const IN_WORKER = [seededNoise, layersOf, newLearner, layerForward, layerBackward, reluInPlace, encoded, decoded,
                   lossGradient, adamStep, trainer];

/**
 * Returns what takes orders; `post` gets what is to be shown. Its text goes into the worker, so that it needs nothing
 * but the functions of learner.js. While it learns it shows its state again and again, but not before the last one has been
 * painted.
 * @param {(report: Report) => void} post @returns {(order: Order) => void}
 */
export function trainer(post) {
  const BATCH = 50, N_SAMPLES = 6, PLANE_EVERY = 400, SHOW_EVERY = 5, CHUNK = 5; // the last three in milliseconds
  const { port1, port2 } = new MessageChannel();
  let noise = seededNoise(0), learner = newLearner({ dX: 1, width: 1, dZ: 1 }, noise.uniform);
  let /** @type {StepSettings} */ settings = { beta: 1, rate: 0.003, mistake: "none" };
  let /** @type {Uint8Array[]} */ pictures = [], /** @type {Float64Array[]} */ codes = [], /** @type {number[]} */ order = [];
  let /** @type {Float64Array[]} */ samples = [], /** @type {Float64Array} */ digit = new Float64Array(1), plane = { n: 1, limit: 1 };
  let left = 0, pause = 0, running = false, painted = true, at = 0, shownAt = 0, planeAt = 0;
  let seen = 0, sum = { logP: 0, kl: 0, n: 0 }, last = { logP: NaN, kl: NaN };

  const drawn = (/** @type {Uint8Array} */ greys) => {
    const bits = new Float64Array(greys.length);
    for (let i = 0; i < bits.length; i++) if (greys[i]) bits[i] = noise.uniform() < greys[i] / 255 ? 1 : 0;
    return bits;
  };
  const gaussians = () => Float64Array.from({ length: learner.dZ }, noise.gaussian);

  function step() {
    const batch = { pictures: /** @type {Float64Array[]} */ ([]), noise: /** @type {Float64Array[]} */ ([]) };
    while (batch.pictures.length < BATCH) {
      if (at >= order.length) { // a new pass, in a new order
        order = pictures.map((_, i) => i);
        for (let i = order.length - 1; i > 0; i--) {
          const j = Math.floor(noise.uniform() * (i + 1));
          [order[i], order[j]] = [order[j], order[i]];
        }
        at = 0;
      }
      batch.pictures.push(drawn(pictures[order[at++]]));
      batch.noise.push(gaussians());
    }
    last = lossGradient(learner, batch, settings);
    adamStep(learner, settings.rate);
    seen += BATCH;
    sum = { logP: sum.logP + last.logP, kl: sum.kl + last.kl, n: sum.n + 1 };
  }

  const picture = (/** @type {Float64Array} */ z) =>
    Float32Array.from(decoded(learner, z).logits, logit => 1 / (1 + Math.exp(-logit)));

  function tiles() {
    const { n, limit } = plane, z = new Float64Array(learner.dZ), all = new Float32Array(n * n * learner.dX);
    for (let k = 0; k < n * n; k++) {
      z[0] = ((k % n + 0.5) / n * 2 - 1) * limit;
      z[1] = (1 - (Math.floor(k / n) + 0.5) / n * 2) * limit;
      all.set(picture(z), k * learner.dX);
    }
    return all;
  }

  function show() {
    const now = performance.now(), q = encoded(learner, digit).out, withPlane = left === 0 || now - planeAt > PLANE_EVERY;
    /** @type {Shown} */
    const shown = {
      steps: learner.steps, seen, passes: seen / pictures.length, last, ended: left === 0,
      mean: sum.n ? { logP: sum.logP / sum.n, kl: sum.kl / sum.n } : null,
      codes: codes.map(bits => Array.from(encoded(learner, bits).out.subarray(0, 2))),
      mu: Array.from(q.subarray(0, learner.dZ)),
      sigma: Array.from(q.subarray(learner.dZ), logVar => Math.exp(logVar / 2)),
      reconstruction: picture(q.subarray(0, learner.dZ)), samples: samples.map(picture), plane: withPlane ? tiles() : null,
    };
    if (withPlane) planeAt = now;
    [shownAt, painted, sum] = [now, false, { logP: 0, kl: 0, n: 0 }];
    post({ shown });
  }

  function run() {
    const start = performance.now();
    while (left > 0) {
      step();
      left = Number.isFinite(last.logP - last.kl) ? left - 1 : 0; // if not, it has run away
      if (pause || performance.now() - start > CHUNK) break;
    }
    if (left === 0 || (painted && performance.now() - shownAt > SHOW_EVERY)) show();
    running = left > 0;
    if (running && pause) setTimeout(run, pause);
    else if (running) port2.postMessage(0); // unlike a timer, it comes at once
  }
  port1.onmessage = run;

  return given => {
    if (given.start) {
      const { sizes, seed, plane: of } = given.start;
      ({ pictures, codes } = given.start);
      noise = seededNoise(seed);
      learner = newLearner(sizes, noise.uniform);
      samples = Array.from({ length: N_SAMPLES }, gaussians);
      [plane, order, at, seen, left, last] = [of, [], 0, 0, 0, { logP: NaN, kl: NaN }];
    }
    if (given.settings) settings = given.settings;
    if (given.digit) digit = given.digit;
    if (given.add) pictures = pictures.concat(given.add);
    if (given.painted) painted = true;
    if (given.steps !== undefined) [left, pause] = [given.steps, given.pause ?? 0];
    if (given.weights) post({ learned: { d_z: learner.dZ, width: learner.width, weights: Float32Array.from(learner.weights) } });
    if (pictures.length && !given.painted && !given.weights && !running) {
      running = true;
      run();
    }
  };
}

/**
 * A trainer, in a worker if the page may have one. Ends with what it returns.
 * @param {(report: Report) => void} onReport
 */
export function startTrainer(onReport) {
  const orders = /** @type {Order[]} */ ([]);
  let /** @type {Worker | null} */ worker = null, /** @type {((order: Order) => void) | null} */ here = null, answered = false;
  const inPage = () => {
    worker?.terminate();
    worker = null;
    here = trainer(report => queueMicrotask(() => { if (here) onReport(report); }));
    for (const order of orders) here(order);
  };
  try {
    const source = `"use strict";${IN_WORKER.map(String).join("\n")}
      const act = trainer(report => postMessage(report)); onmessage = event => act(event.data);`;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    worker = new Worker(address);
    worker.onmessage = event => {
      answered = true;
      onReport(event.data);
    };
    worker.onerror = () => { if (!answered) inPage(); }; // some hosts forbid a worker only when it starts
  } catch { inPage(); }
  return {
    /** @param {Order} order */
    order(order) {
      if (!answered) orders.push(order);
      if (here) here(order);
      else worker.postMessage(order);
    },
    end() {
      worker?.terminate();
      here?.({ steps: 0 });
      here = null;
    },
  };
}
