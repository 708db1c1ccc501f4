// @ts-check
// The terms of the ELBO for a Gaussian q in one dimension, by sums over a grid, and the climb to a larger ELBO: the same
// sums and the same steps as in vaecore.explorer.gap.

/** @import { GapSettings, Grid, Posterior, Terms } from "./types.d.ts" */

const LOG_2_PI = Math.log(2 * Math.PI);

/** @param {GapSettings} settings @returns {Grid} */
export function gridOf({ ends: [from, to], posteriors }) {
  const n = posteriors[0].log_joint.length, step = (to - from) / (n - 1);
  const z = Float64Array.from({ length: n }, (_, i) => from + i * step);
  const logPrior = z.map(v => -0.5 * (LOG_2_PI + v * v));
  /** The trapezoid rule: the two ends count for half. @param {(i: number) => number} f */
  const integral = f => {
    let total = (f(0) + f(n - 1)) / 2;
    for (let i = 1; i < n - 1; i++) total += f(i);
    return total * step;
  };
  return { z, logPrior, prior: logPrior.map(Math.exp), integral };
}

/** @param {Grid} grid @param {GapSettings["posteriors"][number]} posterior @returns {Posterior} */
export function posteriorOn({ z, integral }, { name, log_joint: logJoint, gaussian }) {
  if (logJoint.length !== z.length || !logJoint.every(Number.isFinite)) {
    throw new Error(`The posterior ${name} of this explorer must be ${z.length} finite numbers.`);
  }
  const top = Math.max(...logJoint), logEvidence = Math.log(integral(i => Math.exp(logJoint[i] - top))) + top;
  return { name, logJoint, gaussian, logEvidence, density: logJoint.map(v => Math.exp(v - logEvidence)) };
}

/**
 * The four terms of the derivation's last line, and the ELBO, in nats.
 * @param {Grid} grid @param {Posterior} posterior @param {number} mu @param {number} sigma @returns {Terms}
 */
export function termsOf({ z, logPrior, integral }, { logJoint, logEvidence }, mu, sigma) {
  const logQ = z.map(v => -0.5 * (LOG_2_PI + ((v - mu) / sigma) ** 2) - Math.log(sigma)), q = logQ.map(Math.exp);
  const reconstruction = integral(i => q[i] * (logJoint[i] - logPrior[i]));
  const klToPrior = integral(i => q[i] * (logQ[i] - logPrior[i]));
  const gap = integral(i => q[i] * (logQ[i] - logJoint[i] + logEvidence));
  return { q, reconstruction, klToPrior, gap, logEvidence, elbo: reconstruction - klToPrior };
}

/**
 * Climbs from q = N(mu, sigma^2) to the nearest top of the ELBO, in steps that get smaller: [mu, sigma] there.
 * @param {Grid} grid @param {Posterior} posterior @param {GapSettings} settings @param {number} mu @param {number} sigma
 */
export function climb(grid, posterior, { limit, narrowest, widest }, mu, sigma) {
  /** @param {number} v @param {number} low @param {number} high */
  const clip = (v, low, high) => Math.round(Math.min(high, Math.max(low, v)) * 1e4) / 1e4;
  let { elbo } = termsOf(grid, posterior, mu, sigma);
  for (let step = 0.2; step > 1e-4; ) {
    const around = [[step, 0], [-step, 0], [0, step], [0, -step]].map(([a, b]) => {
      const [nextMu, nextSigma] = [clip(mu + a, -limit, limit), clip(sigma + b, narrowest, widest)];
      return [termsOf(grid, posterior, nextMu, nextSigma).elbo, nextMu, nextSigma];
    });
    const best = around.reduce((a, b) => (b[0] > a[0] ? b : a));
    if (best[0] > elbo + 1e-12) [elbo, mu, sigma] = best;
    else step /= 2;
  }
  return [mu, sigma];
}
