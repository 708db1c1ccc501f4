// A decoder under the hand: sliders for its latents, a plane when there are two, walks between test digits.

KINDS.latent = async function (view) {
  const { d_z: dZ, order, kl, codes, labels, limit, radius, note } = view.settings;
  const picture = await latentPicture(view);
  const flat = dZ === 2;
  const digit = digitPicture(["decoded: the mean ", symbol("π"), " of ", make("i", {}, "p"), "(", make("i", {}, "x"),
                              "|", make("i", {}, "z"), ")"]);
  const move = (j, value) => view.set("z", view.get("z").map((v, i) => (i === j ? value : v)));
  const sliders = order.map(j => slider({
    label: symbol("z", j + 1), name: `z ${j + 1}`, min: -limit, max: limit, onInput: value => move(j, value),
    note: flat || kl.length === 0 ? null : `${kl[j].toFixed(1)} nats`,
  }));
  const first = make("div", { class: "vae-sliders" }, ...sliders.slice(0, 8).map(s => s.row));
  const others = sliders.length <= 8 ? null : make("details", {},
    make("summary", {}, `the other ${sliders.length - 8} active latents`),
    make("div", { class: "vae-sliders" }, ...sliders.slice(8).map(s => s.row)));
  const pad = flat ? plane(view, { limit, radius, codes, labels, onMove: z => view.set("z", z) }) : null;
  const walking = codes.length ? walk(view, pad) : null;
  const still = Array(dZ).fill(0);
  const buttons = make("div", { class: "vae-buttons" },
    button("draw z from the prior", () => view.set("z", gaussianNoise(dZ).map((v, j) =>
      order.includes(j) ? Math.max(-limit, Math.min(limit, Math.round(v * 100) / 100)) : 0))),
    button("reset", () => view.set("z", still)));
  const shown = pad && make("div", { class: "vae-buttons" },
    toggle("decoded plane", true, on => { pad.canvas.hidden = !on; }),
    codes.length ? toggle("test digits", true, on => { pad.marks.style.display = on ? "" : "none"; }) : null);
  view.root.append(make("div", { class: pad ? "vae-columns" : "vae-columns vae-no-plane" },
    pad ? make("div", {}, pad.box, shown) : null,
    make("div", { class: "vae-side" }, digit.box, make("div", {}, first, others, buttons, walking))));
  if (note && !view.get("picture")) view.root.append(make("p", { class: "vae-note" }, note));

  view.watch(["z", "picture"], () => {
    const z = view.get("z");
    if (z.length !== dZ || !z.every(Number.isFinite)) {
      throw new Error(`z must be ${dZ} finite numbers; got ${z.length === dZ ? z.join(", ") : z.length}.`);
    }
    const where = flat ? `z = (${z.map(v => minus(v)).join(", ")})` : "z as the sliders say";
    const near = nearest(z, codes, labels);
    const words = `${where}${near === null ? "" : `; the nearest test digit shown is a ${near}`}`;
    digit.show(picture.at(z), `Decoded digit at ${words}`);
    sliders.forEach((s, k) => s.set(z[order[k]]));
    pad?.show(z, `Plane of two latents with decoded digits and codes of test digits; the point is at ${words}`);
    view.say(words);
  });
  if (pad) paintManifold(view, pad, picture.onGrid, limit);
};

// What is shown at z: the net's own answer, the kernel's, or the nearest of a grid of pictures made beforehand.
async function latentPicture(view) {
  const { blobs, d_z: dZ, steps, limit } = view.settings;
  if (blobs.decoder) {
    const decoder = await view.network("decoder");
    if (decoder.nIn !== dZ) throw new Error(`The decoder takes ${decoder.nIn} latents; this explorer has ${dZ}.`);
    const decode = z => decodeMean(decoder, z);
    return { at: decode, onGrid: decode };
  }
  const pictures = await view.images("grid");
  const step = v => Math.max(0, Math.min(steps - 1, Math.round((v / limit + 1) / 2 * (steps - 1))));
  const onGrid = z => Float32Array.from(pictures[step(dZ > 1 ? -z[1] : 0) * steps + step(z[0])], v => v / 255);
  const kernel = () => Float32Array.from(readPart(view.get("picture").pixels, "picture"), v => v / 255);
  return { at: view.get("picture") ? kernel : onGrid, onGrid };
}

function nearest(z, codes, labels) {
  let best = Infinity, label = null;
  codes.forEach((code, i) => {
    const distance = code.reduce((sum, v, j) => sum + (v - z[j]) ** 2, 0);
    if (distance < best) [best, label] = [distance, labels[i]];
  });
  return label;
}

// From the code of one test digit to that of another, along a straight line.
function walk(view, pad) {
  const { codes, labels } = view.settings;
  const classes = [...new Set(labels)].sort((a, b) => a - b);
  const options = classes.map(c => [labels.indexOf(c), `a ${c}`]);
  const along = slider({ label: symbol("t"), name: "share of the way", min: 0, max: 1, onInput: go });
  const from = choice("walk from ", options, again), to = choice(" to ", options, again);
  to.select.selectedIndex = Math.min(7, options.length - 1);
  from.select.selectedIndex = Math.min(3, options.length - 1);
  const ends = () => [from, to].map(c => codes[Number(c.select.value)]);
  function go(t) {
    const [a, b] = ends();
    along.set(t);
    pad?.showPath(a, b);
    view.set("z", a.map((v, j) => (1 - t) * v + t * b[j]));
  }
  function again() { go(0); }
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = 0;
  function play() {
    cancelAnimationFrame(frame);
    if (calm.matches) return go(Number(along.input.value) < 1 ? 1 : 0); // no motion: from one end to the other
    const start = performance.now();
    const step = now => {
      const t = Math.min(1, Math.max(0, (now - start) / 2500));
      view.guard(() => go(t));
      if (t < 1) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  }
  along.input.addEventListener("pointerdown", () => cancelAnimationFrame(frame));
  view.cleanups.push(() => cancelAnimationFrame(frame));
  along.set(0);
  return make("fieldset", { class: "vae-walk" }, make("legend", {}, "a walk between two test digits"),
    make("div", { class: "vae-buttons" }, from.row, to.row, button("walk", play)), along.row);
}
