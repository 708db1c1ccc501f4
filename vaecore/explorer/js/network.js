// @ts-check
// The nets of the book, run in the page, and what is computed from their outputs.

/** @import { Activation, Gaussian, Network, Numbers } from "./types.d.ts" */

/** @type {Record<string, Activation | null>} */
export const ACTIVATIONS = {
  none: null,
  relu: x => Math.max(x, 0),
  tanh: Math.tanh,
  softplus,
};

/** @param {number} x */
function softplus(x) {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/**
 * The net's output for one input. The array is the net's own: the next call overwrites it.
 * @param {Network} network @param {Numbers} input @returns {Float32Array}
 */
export function forward(network, input) {
  if (input.length !== network.nIn) {
    throw new Error(`The ${network.name} takes ${network.nIn} numbers; got ${input.length}.`);
  }
  let a = input;
  for (const { weight, bias, activation, nIn, out } of network.layers) {
    let row = 0;
    for (; row + 4 <= out.length; row += 4) { // four rows at once: a is read once for all of them
      let p = row * nIn, q = p + nIn, r = q + nIn, s = r + nIn;
      let sum0 = bias[row], sum1 = bias[row + 1], sum2 = bias[row + 2], sum3 = bias[row + 3];
      for (let i = 0; i < nIn; i++) {
        const value = a[i];
        sum0 += weight[p++] * value;
        sum1 += weight[q++] * value;
        sum2 += weight[r++] * value;
        sum3 += weight[s++] * value;
      }
      out[row] = sum0; out[row + 1] = sum1; out[row + 2] = sum2; out[row + 3] = sum3;
    }
    for (; row < out.length; row++) {
      let sum = bias[row];
      for (let i = 0, p = row * nIn; i < nIn; i++) sum += weight[p++] * a[i];
      out[row] = sum;
    }
    if (activation) for (let i = 0; i < out.length; i++) out[i] = activation(out[i]);
    a = out;
  }
  return /** @type {Float32Array} */ (a);
}

/**
 * The mean picture, pi, of a Bernoulli decoder: a new array of numbers in [0, 1].
 * @param {Network} decoder @param {Numbers} input
 */
export function decodeMean(decoder, input) {
  return forward(decoder, input).map(logit => 1 / (1 + Math.exp(-logit)));
}

/**
 * q's mean and standard deviation from an encoder's output (mu, log sigma^2).
 * @param {Network} encoder @param {Numbers} input @returns {Gaussian}
 */
export function encodeGaussian(encoder, input) {
  const out = forward(encoder, input), dZ = out.length / 2;
  return { mu: Array.from(out.subarray(0, dZ)), sigma: Array.from(out.subarray(dZ), v => Math.exp(0.5 * v)) };
}

/**
 * KL(q || N(0, I)) in nats.
 * @param {Gaussian} q
 */
export function klToPrior({ mu, sigma }) {
  return mu.reduce((sum, m, j) => sum + 0.5 * (m * m + sigma[j] ** 2 - 1) - Math.log(sigma[j]), 0);
}

/**
 * log p(x|z) in nats of bits (or greys) x, from the decoder's logits.
 * @param {Numbers} logits @param {Numbers} x
 */
export function logLikelihood(logits, x) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * logits[i] - softplus(logits[i]);
  return sum;
}

/** @param {number} n @param {number} k */
export function oneHot(n, k) {
  return Array.from({ length: n }, (_, i) => (i === k ? 1 : 0));
}

/** @param {Numbers} logits */
export function softmax(logits) {
  const top = Math.max(...Array.from(logits)), weights = Array.from(logits, v => Math.exp(v - top));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map(w => w / sum);
}

/** @param {number} n */
export function gaussianNoise(n) {
  return Array.from({ length: n }, () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}
