// What explorers of many latents share: sliders for z, that with the largest KL first; draws of z; the row of classes.

// z as the view has it, or a sentence. `dZ` floats; null where the explorer takes z from somewhere else.
function latentsOf(view, name = "z") {
  const z = view.get(name), dZ = view.settings.d_z;
  if (z !== null && (z?.length !== dZ || !z.every(Number.isFinite))) {
    throw new Error(`${name} must be ${dZ} finite numbers; got ${z?.length === dZ ? z.join(", ") : z?.length}.`);
  }
  return z;
}

function priorDraw(dZ, limit) { // as fine and as far as the sliders go
  return gaussianNoise(dZ).map(v => Math.max(-limit, Math.min(limit, Math.round(v * 100) / 100)));
}

// `current` gives the z in use, which a slider changes in one place.
function latentSliders(view, { order, kl, first = view.settings.first }, current) {
  const { limit } = view.settings;
  const sliders = order.map(j => slider({
    label: symbol("z", j + 1), name: `z${j + 1}`, min: -limit, max: limit,
    note: kl.length ? `${kl[j].toFixed(kl[j] < 0.1 ? 2 : 1)} nats` : null,
    onInput: value => view.set("z", current().map((v, i) => (i === j ? value : v))),
  }));
  const rows = some => make("div", { class: "vae-sliders" }, ...some.map(s => s.row));
  const others = sliders.slice(first);
  return {
    box: make("div", {}, rows(sliders.slice(0, first)), others.length === 0 ? null : make("details", {},
      make("summary", {}, others.length === 1 ? "the other latent" : `the other ${others.length} latents`),
      rows(others))),
    show(z) { sliders.forEach((s, k) => s.set(z[order[k]])); },
    words(z) { // for screen readers: the first few
      return order.slice(0, first).map(j => `z ${j + 1} is ${minus(z[j]).replace("\u2212", "minus ")}`).join(", ");
    },
  };
}

// The mean pictures of one z as every class. Both the VAE that is given labels and M2 join a one-hot y to z.
function asEveryClass(decoder, z, nClasses) {
  return Array.from({ length: nClasses }, (_, k) => decodeMean(decoder, [...z, ...oneHot(nClasses, k)]));
}

function percent(p) {
  if (p < 0.0005 || p > 0.9995) return p < 0.5 ? "< 0.1 %" : "> 99.9 %";
  return `${(100 * p).toFixed(p < 0.0995 || p > 0.9905 ? 1 : 0)} %`;
}

// Pictures of the classes side by side, in two rows where it is narrow; with `bars`, the probability of each above it.
function classRow(nClasses, bars = false) {
  const cells = Array.from({ length: nClasses }, (_, k) => {
    const digit = digitPicture(String(k)), bar = make("div", {}), words = make("output", { "aria-live": "off" });
    if (bars) digit.box.prepend(words, make("div", { class: "vae-chance", "aria-hidden": "true" }, bar));
    return { digit, bar, words };
  });
  return {
    box: make("div", { class: "vae-classes" }, ...cells.map(c => c.digit.box)),
    show(pictures, q = null) {
      const top = q && q.some(p => p) ? q.indexOf(Math.max(...q)) : -1; // all 0: there is no picture
      cells.forEach(({ digit, bar, words }, k) => {
        digit.show(pictures[k], q ? `This style as class ${k}` : `This z as class ${k}`);
        if (!q) return;
        bar.style.height = `${100 * q[k]}%`;
        bar.hidden = q[k] < 0.005; // or its border alone would look like a little
        words.textContent = top < 0 ? "" : percent(q[k]);
        digit.box.classList.toggle("vae-top", k === top);
      });
    },
  };
}
