// The nets of the book, run in the page. A blob is what vaecore.explorer.blobs packed; each reader of one throws an
// Error whose message is a sentence for the reader of the page.

function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

function textOf(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

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

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
}

const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => half(bits));

function numbersOf(bytes, kind) { // little-endian, whatever the machine
  if (kind === "float16") {
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => HALVES[bytes[2 * i] | (bytes[2 * i + 1] << 8)]);
  }
  const n = bytes.length / 5 * 4; // int10: the upper eight bits of each, then the lower two, four numbers to a byte
  return Float32Array.from({ length: n }, (_, i) =>
    ((bytes[i] << 24) >> 24) * 4 + ((bytes[n + (i >> 2)] >> (2 * (i & 3))) & 3));
}

function readPart(part, name) {
  let bytes = null;
  try { bytes = bytesOf(part.bytes); } catch { /* no base64: damaged, as a wrong sum is */ }
  if (bytes === null || adler32(bytes) !== part.sum) {
    throw new Error(`The ${name} of this explorer arrived damaged; load the page again.`);
  }
  return part.kind === "uint8" ? bytes : numbersOf(bytes, part.kind);
}

function readNetwork(blob, name) {
  let nIn = blob.n_in;
  const layers = blob.layers.map((layer, i) => {
    const bias = readPart(layer.bias, name), nOut = bias.length;
    const scale = layer.scale ? readPart(layer.scale, name) : null;
    const stored = readPart(layer.weight, name), spare = scale ? stored.length - nIn * nOut : 0;
    const weight = spare > 0 && spare < 4 ? stored.subarray(0, nIn * nOut) : stored; // four numbers share a byte
    if (weight.length !== nIn * nOut || (scale && scale.length !== nOut)) {
      throw new Error(`Layer ${i + 1} of the ${name} has ${weight.length} weights; ${nIn} inputs and ${nOut} outputs ` +
                      `need ${nIn * nOut}.`);
    }
    if (![weight, bias, scale ?? []].every(numbers => numbers.every(Number.isFinite))) {
      throw new Error(`Layer ${i + 1} of the ${name} holds weights that are no finite numbers.`);
    }
    if (scale) weight.forEach((w, k) => { weight[k] = w * scale[Math.floor(k / nIn)]; });
    const read = { weight, bias, activation: ACTIVATIONS[layer.activation], nIn, out: new Float32Array(nOut) };
    if (read.activation === undefined) throw new Error(`The ${name} has an unknown activation, ${layer.activation}.`);
    nIn = nOut;
    return read;
  });
  return { layers, nIn: blob.n_in, nOut: nIn, name };
}

const ACTIVATIONS = {
  none: null,
  relu: x => Math.max(x, 0),
  tanh: Math.tanh,
  softplus: x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
};

// The net's output for one input; the array is the net's own and is written over by the next call.
function forward(network, input) {
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
  return a;
}

// The mean picture, pi, of a Bernoulli decoder: new numbers in [0, 1].
function decodeMean(decoder, input) {
  return forward(decoder, input).map(logit => 1 / (1 + Math.exp(-logit)));
}

// q's mean and standard deviation from an encoder's output (mu, log sigma^2).
function encodeGaussian(encoder, input) {
  const out = forward(encoder, input), dZ = out.length / 2;
  return { mu: Array.from(out.subarray(0, dZ)), sigma: Array.from(out.subarray(dZ), v => Math.exp(0.5 * v)) };
}

// KL(q || N(0, I)) in nats.
function klToPrior({ mu, sigma }) {
  return mu.reduce((sum, m, j) => sum + 0.5 * (m * m + sigma[j] ** 2 - 1) - Math.log(sigma[j]), 0);
}

// log p(x|z) in nats of bits (or greys) x, from the decoder's logits.
function logLikelihood(logits, x) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * logits[i] - ACTIVATIONS.softplus(logits[i]);
  return sum;
}

function oneHot(n, k) {
  return Array.from({ length: n }, (_, i) => (i === k ? 1 : 0));
}

function softmax(logits) {
  const top = Math.max(...logits), weights = Array.from(logits, v => Math.exp(v - top));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map(w => w / sum);
}

function gaussianNoise(n) {
  return Array.from({ length: n }, () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}
