// @ts-check
// What vaecore.explorer.blobs packed, read in the page. Every reader throws an Error whose message is a sentence for
// the reader of the page.

import { ACTIVATIONS } from "./network.js";

/** @import { Layer, LayerBlob, Network, NetworkBlob, Part } from "./types.d.ts" */

/** @param {string} text */
export function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** @param {Uint8Array} bytes */
export function textOf(bytes) {
  return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join("")); // not spread: there may be too many
}

/** @param {Uint8Array} bytes */
function adler32(bytes) {
  let a = 1, b = 0;
  for (let i = 0; i < bytes.length; ) {
    const end = Math.min(i + 3800, bytes.length); // sums stay exact that long
    for (; i < end; i++) b += a += bytes[i];
    a %= 65521;
    b %= 65521;
  }
  return b * 65536 + a;
}

/** @param {number} bits */
function float16(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
}

const FLOAT16 = Float32Array.from({ length: 65536 }, (_, bits) => float16(bits));

/**
 * float16, little-endian whatever the machine; or int10: the upper eight bits of each number, then the lower two, four
 * numbers to a byte.
 * @param {Uint8Array} bytes @param {string} kind
 */
export function numbersOf(bytes, kind) {
  if (kind === "float16") {
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => FLOAT16[bytes[2 * i] | (bytes[2 * i + 1] << 8)]);
  }
  const n = bytes.length / 5 * 4;
  return Float32Array.from({ length: n }, (_, i) =>
    ((bytes[i] << 24) >> 24) * 4 + ((bytes[n + (i >> 2)] >> (2 * (i & 3))) & 3));
}

/** @param {Part} part @param {string} name */
export function readBytes(part, name) {
  let bytes = null;
  try { bytes = bytesOf(part.bytes); } catch { /* not base64: damaged, like a wrong sum */ }
  if (bytes === null || adler32(bytes) !== part.sum) {
    throw new Error(`The ${name} of this explorer arrived damaged; load the page again.`);
  }
  return bytes;
}

/** What zlib has packed. @param {Uint8Array<ArrayBuffer>} bytes */
export async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** @param {NetworkBlob} blob @param {string} name @returns {Network} */
export function readNetwork(blob, name) {
  let nIn = blob.n_in;
  const layers = blob.layers.map((packed, i) => {
    const layer = readLayer(packed, nIn, `Layer ${i + 1} of the ${name}`, name);
    nIn = layer.out.length;
    return layer;
  });
  return { layers, nIn: blob.n_in, nOut: nIn, name };
}

/** @param {LayerBlob} packed @param {number} nIn @param {string} which @param {string} name @returns {Layer} */
function readLayer(packed, nIn, which, name) {
  const read = (/** @type {Part} */ part) => numbersOf(readBytes(part, name), part.kind);
  const bias = read(packed.bias), scale = packed.scale ? read(packed.scale) : null;
  const stored = read(packed.weight), nOut = bias.length, spare = scale ? stored.length - nIn * nOut : 0;
  const weight = spare > 0 && spare < 4 ? stored.subarray(0, nIn * nOut) : stored; // four numbers share a byte
  if (weight.length !== nIn * nOut || (scale && scale.length !== nOut)) {
    throw new Error(`${which} has ${weight.length} weights; ${nIn} inputs and ${nOut} outputs need ${nIn * nOut}.`);
  }
  if (![weight, bias, scale ?? []].every(numbers => numbers.every(Number.isFinite))) {
    throw new Error(`${which} has weights that are not finite.`);
  }
  if (scale) weight.forEach((w, k) => { weight[k] = w * scale[Math.floor(k / nIn)]; });
  const activation = ACTIVATIONS[packed.activation];
  if (activation === undefined) throw new Error(`${which} has an unknown activation, ${packed.activation}.`);
  return { weight, bias, activation, nIn, out: new Float32Array(nOut) };
}
