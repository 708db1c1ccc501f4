// @ts-check
// A VAE that learns: two nets of one hidden layer, their gradients by hand, Adam. Nothing here knows of a page: the
// functions also run in a worker, which gets their text, so they call nothing but each other.

/** @import { Batch, Learner, LearnerSizes, Step, StepSettings } from "./types.d.ts" */

/**
 * Uniform numbers in [0, 1), the same for the same seed (mulberry32), and standard Gaussian ones made of them.
 * @param {number} seed
 */
export function seededNoise(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { uniform, gaussian: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

/**
 * Where each layer's weights and biases lie in one array. A layer from n to m numbers has n rows of m weights: row i
 * holds what input i adds to each output.
 * @param {LearnerSizes} sizes
 */
export function layersOf({ dX, width, dZ }) {
  let at = 0;
  const layer = (/** @type {number} */ nIn, /** @type {number} */ nOut) => {
    const weight = at, bias = at + nIn * nOut;
    at = bias + nOut;
    return { weight, bias, nIn, nOut };
  };
  const layers = [layer(dX, width), layer(width, 2 * dZ), layer(dZ, width), layer(width, dX)];
  return { layers, length: at };
}

/**
 * Weights as PyTorch's nn.Linear draws them: uniform within 1 / sqrt(inputs), biases too.
 * @param {LearnerSizes} sizes @param {() => number} uniform @returns {Learner}
 */
export function newLearner(sizes, uniform) {
  const { layers, length } = layersOf(sizes), zeros = () => new Float64Array(length);
  const weights = zeros();
  for (const { weight, bias, nIn, nOut } of layers) {
    const most = 1 / Math.sqrt(nIn);
    for (let i = weight; i < bias + nOut; i++) weights[i] = most * (2 * uniform() - 1);
  }
  return { ...sizes, layers, weights, gradient: zeros(), mean: zeros(), square: zeros(), steps: 0 };
}

/**
 * out = weights^T a + bias. Inputs that are 0 cost nothing: most pixels have no ink, half of the ReLUs give nothing.
 * @param {Learner} learner @param {number} number @param {Float64Array} a @param {Float64Array} out
 */
export function layerForward({ layers, weights }, number, a, out) {
  const { weight, bias, nIn, nOut } = layers[number];
  for (let j = 0; j < nOut; j++) out[j] = weights[bias + j];
  for (let i = 0; i < nIn; i++) {
    const value = a[i], row = weight + i * nOut;
    if (value !== 0) for (let j = 0; j < nOut; j++) out[j] += value * weights[row + j];
  }
}

/**
 * From the loss's slopes in a layer's outputs, `dOutputs`: adds its slopes in weights and biases to the gradient, and
 * writes those in its inputs to `dInputs`, unless that is null. With `relu`, an input of 0 has slope 0.
 * @param {Learner} learner @param {number} number @param {Float64Array} a @param {Float64Array} dOutputs
 * @param {Float64Array | null} dInputs @param {boolean} relu
 */
export function layerBackward({ layers, weights, gradient }, number, a, dOutputs, dInputs, relu) {
  const { weight, bias, nIn, nOut } = layers[number];
  for (let j = 0; j < nOut; j++) gradient[bias + j] += dOutputs[j];
  for (let i = 0; i < nIn; i++) {
    const value = a[i], row = weight + i * nOut;
    if (value !== 0) for (let j = 0; j < nOut; j++) gradient[row + j] += value * dOutputs[j];
    if (dInputs === null) continue;
    let sum = 0;
    if (!relu || value > 0) for (let j = 0; j < nOut; j++) sum += weights[row + j] * dOutputs[j];
    dInputs[i] = sum;
  }
}

/** @param {Float64Array} a */
export function reluInPlace(a) {
  for (let i = 0; i < a.length; i++) if (a[i] < 0) a[i] = 0;
}

/**
 * (mu, log sigma^2) of q(z|x), one after the other.
 * @param {Learner} learner @param {Float64Array} x
 */
export function encoded(learner, x) {
  const hidden = new Float64Array(learner.width), out = new Float64Array(2 * learner.dZ);
  layerForward(learner, 0, x, hidden);
  reluInPlace(hidden);
  layerForward(learner, 1, hidden, out);
  return { hidden, out };
}

/**
 * The logits of the pixels of p(x|z).
 * @param {Learner} learner @param {Float64Array} z
 */
export function decoded(learner, z) {
  const hidden = new Float64Array(learner.width), logits = new Float64Array(learner.dX);
  layerForward(learner, 2, z, hidden);
  reluInPlace(hidden);
  layerForward(learner, 3, hidden, logits);
  return { hidden, logits };
}

/**
 * The gradient of the loss, averaged over a batch, into `learner.gradient`; returns the averages of log p(x|z) and of
 * the KL, in nats. The loss is the negative ELBO, beta KL - log p(x|z), unless `mistake` spoils it.
 * @param {Learner} learner @param {Batch} batch @param {StepSettings} settings @returns {Step}
 */
export function lossGradient(learner, { pictures, noise }, { beta, mistake }) {
  const { dX, dZ, width, gradient } = learner, n = pictures.length;
  const ofKl = (mistake === "no KL" ? 0 : mistake === "KL added" ? -1 : 1) * beta / n;
  const ofLogP = (mistake === "mean" ? 1 / dX : 1) / n;
  const z = new Float64Array(dZ), dZs = new Float64Array(dZ), dOutputs = new Float64Array(2 * dZ);
  const dLogits = new Float64Array(dX), dHidden = new Float64Array(width);
  const isLogVar = mistake !== "exp(log_var)"; // else exp(log sigma^2) is taken for sigma
  let logP = 0, kl = 0;
  gradient.fill(0);
  for (let b = 0; b < n; b++) {
    const x = pictures[b], q = encoded(learner, x);
    for (let k = 0; k < dZ; k++) {
      const epsilon = mistake === "no noise" ? 0 : noise[b][k];
      z[k] = q.out[k] + epsilon * Math.exp(q.out[dZ + k] * (isLogVar ? 0.5 : 1));
    }
    const p = decoded(learner, z);
    for (let i = 0; i < dX; i++) {
      const logit = p.logits[i], small = Math.exp(-Math.abs(logit)); // no overflow on either side
      logP += x[i] * logit - Math.max(logit, 0) - Math.log1p(small);
      dLogits[i] = ofLogP * ((logit > 0 ? 1 : small) / (1 + small) - x[i]);
    }
    layerBackward(learner, 3, p.hidden, dLogits, dHidden, true);
    layerBackward(learner, 2, z, dHidden, dZs, false);
    for (let k = 0; k < dZ; k++) { // z = mu + sigma epsilon; KL = (mu^2 + sigma^2 - 1 - log sigma^2) / 2
      const mu = q.out[k], logVar = q.out[dZ + k], variance = Math.exp(logVar);
      kl += 0.5 * (mu * mu + variance - 1 - logVar);
      dOutputs[k] = dZs[k] + ofKl * mu;
      dOutputs[dZ + k] = dZs[k] * (z[k] - mu) * (isLogVar ? 0.5 : 1) + ofKl * 0.5 * (variance - 1);
    }
    layerBackward(learner, 1, q.hidden, dOutputs, dHidden, true);
    layerBackward(learner, 0, x, dHidden, null, true);
  }
  return { logP: logP / n, kl: kl / n };
}

/**
 * One step of Adam along `learner.gradient`, with PyTorch's beta_1, beta_2 and epsilon.
 * @param {Learner} learner @param {number} rate
 */
export function adamStep(learner, rate) {
  const { weights, gradient, mean, square } = learner, t = ++learner.steps;
  const size = rate / (1 - 0.9 ** t), root = Math.sqrt(1 - 0.999 ** t);
  for (let i = 0; i < weights.length; i++) {
    const g = gradient[i];
    mean[i] += 0.1 * (g - mean[i]);
    square[i] += 0.001 * (g * g - square[i]);
    weights[i] -= size * mean[i] / (Math.sqrt(square[i]) / root + 1e-8);
  }
}
