// What explorers pass around: read by editors and by TypeScript's checker, never by a browser.

import type { View } from "./view.js";

export type Numbers = ArrayLike<number>;

// --- blobs, as vaecore.explorer.blobs packs them ------------------------------------------------------------------

/** An array as base64 of its bytes, with their Adler-32 sum. */
export interface Part { kind: string; bytes: string; sum: number }
export interface LayerBlob { weight: Part; bias: Part; scale?: Part; activation: string }
export interface NetworkBlob { n_in: number; layers: LayerBlob[] }
export interface ImagesBlob { n: number; pixels: Part }

// --- nets -----------------------------------------------------------------------------------------------------------

export type Activation = (x: number) => number;
export interface Layer { weight: Float32Array; bias: Float32Array; activation: Activation | null; nIn: number; out: Float32Array }
export interface Network { layers: Layer[]; nIn: number; nOut: number; name: string }
export interface Gaussian { mu: number[]; sigma: number[] }
/** What a VAE makes of a digit: q, one z of it, the picture there, and in nats the ELBO with its two terms. */
export interface Reading extends Gaussian {
  z: number[]; epsilon: number[]; pixels: Float32Array; logP: number; kl: number; elbo: number;
}
/** A conditional VAE and, if there is one, the regressor next to it, as functions that make whole pictures. */
export interface Completer {
  complete(bits: Numbers, z: number[]): Float32Array;
  average: ((bits: Numbers) => Float32Array) | null;
}

// --- settings: what Python decides once; keys as Python writes them -------------------------------------------------

export interface Settings { name: string; note?: string; blobs: Record<string, string> }

export interface LatentsSettings extends Settings { d_z: number; limit: number; first?: number }
/** The latents that have sliders, in this order, and the KL of each latent in nats, or none. */
export interface Sliders { order: number[]; kl: number[]; first?: number }

export interface PlaneSettings { limit: number; radius: number; codes: number[][]; labels: number[] }
export interface LatentSettings extends LatentsSettings, Sliders, PlaneSettings {
  first?: number; steps?: number; shape: number[];
}

/** Test digits are the blob "images"; `thresholds` is base64 of 784 bytes. */
export interface PadSettings extends Settings { labels: number[]; thresholds: string }
export interface DigitSettings extends LatentsSettings, PadSettings, PlaneSettings {}

export interface ClassesSettings extends LatentsSettings, Sliders { n_classes: number; first: number }
export interface AnalogiesSettings extends ClassesSettings, PadSettings {}

export interface GivenPart extends Sliders { name: string; words: string; given: number[] }
export interface CompletionSettings extends LatentsSettings, PadSettings { parts: GivenPart[]; green: Colours }
/** Paper and ink, RGB from 0 to 255. */
export type Colours = [number[], number[]];

export interface BetaSettings extends LatentsSettings {
  radius: number;
  betas: number[];
  terms: { log_likelihood: number; kl: number }[]; // means over the test digits, for each beta
  codes: number[][][];
  labels: number[];
  n_test: number;
}

export interface GapSettings extends Settings {
  ends: [number, number]; // of the grid
  posteriors: { name: string; log_joint: number[]; gaussian: [number, number] | null }[];
  start: [number, number]; // mu, sigma
  limit: number;
  narrowest: number;
  widest: number;
}

// --- the gap viewer -------------------------------------------------------------------------------------------------

export interface Grid { z: Float64Array; logPrior: Float64Array; prior: Float64Array; integral(f: (i: number) => number): number }
export interface Posterior {
  name: string; logJoint: number[]; gaussian: [number, number] | null; logEvidence: number; density: number[];
}
export interface Terms {
  q: Float64Array; reconstruction: number; klToPrior: number; gap: number; logEvidence: number; elbo: number;
}

// --- a VAE that learns ----------------------------------------------------------------------------------------------

export interface LearnerSizes { dX: number; width: number; dZ: number }
/** Weights, their gradient, and Adam's running means, all in one order: encoder, decoder; weights, biases. */
export interface Learner extends LearnerSizes {
  layers: { weight: number; bias: number; nIn: number; nOut: number }[];
  weights: Float64Array; gradient: Float64Array; mean: Float64Array; square: Float64Array; steps: number;
}
/** Pictures of bits, and for each the epsilon of its z. */
export interface Batch { pictures: Float64Array[]; noise: Float64Array[] }
export interface StepSettings { beta: number; rate: number; mistake: string }
/** Averages over a batch, in nats. */
export interface Step { logP: number; kl: number }
/** Greys of the pictures to learn from; bits of those whose codes are shown. */
export interface Start {
  sizes: LearnerSizes; seed: number; pictures: Uint8Array[]; codes: Float64Array[]; plane: { n: number; limit: number };
}
/** What a trainer is told; `steps` may be Infinity, or 0 to stop, with a `pause` of milliseconds after each. */
export interface Order {
  start?: Start; settings?: StepSettings; digit?: Float64Array; add?: Uint8Array[]; steps?: number; pause?: number;
  painted?: boolean; weights?: boolean;
}
/** The state of a learner; `mean` is over the steps since the last one, `plane` its tiles, row by row, if they are due. */
export interface Shown {
  steps: number; seen: number; passes: number; last: Step; mean: Step | null; ended: boolean; codes: number[][];
  mu: number[]; sigma: number[]; reconstruction: Float32Array; samples: Float32Array[]; plane: Float32Array | null;
}
export interface Learned { d_z: number; width: number; weights: Float32Array }
export interface Report { shown?: Shown; learned?: Learned }

export interface TrainingSettings extends Settings {
  limit: number; radius: number; shape: [number, number]; seed: number;
  betas: number[]; rates: number[]; widths: number[]; d_zs: number[];
  labels: number[]; mistakes: Record<string, { words: string; code: string; lit: string }>;
  machines: Record<string, string>;
}

// --- hosts ----------------------------------------------------------------------------------------------------------

/** What stands in a page without a kernel: the settings, and the values by their names. */
export interface State { kind: string; settings: Settings; [name: string]: any }

/** As much of a widget's model as explorers use. */
export interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  on(event: string, handle: () => void): void;
  off(event: string, handle: () => void): void;
  save_changes(): void;
}

export type Load = (id: string, role: string) => Promise<any>;

/** A kind of explorer. `room` is about how many em high it is, in a narrow page and in a wide one. */
export interface Kind<S extends Settings> { room(settings: S): [number, number]; show(view: View<S>): Promise<void> }
