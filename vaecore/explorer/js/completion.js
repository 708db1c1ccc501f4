// A part of a digit is given; a conditional VAE makes up the rest, differently for every z.

ROOM.completion = () => [71, 41.5];
KINDS.completion = async function (view) {
  const { d_z: dZ, parts, limit, blobs, green } = view.settings;
  const part = () => {
    const found = parts.find(p => p.name === view.get("given"));
    if (!found) throw new Error(`given must be one of ${parts.map(p => p.name).join(", ")}; got ${view.get("given")}.`);
    return found;
  };
  const masks = Object.fromEntries(parts.map(({ name, given }) =>
    [name, Array.from({ length: 784 }, (_, i) => given.includes(i))]));
  const tint = () => (mask => i => (mask[i] ? green : null))(masks[part().name]);
  const source = await digitSource(view, {
    caption: ["given: the green bits, ", math("y")], colourOf: tint, also: ["given"],
  });
  const loaded = {}, loading = {}; // nets of the parts that the reader has chosen
  const load = ({ name, given }) => loading[name] ??= (async () => {
    const roles = [`decoder (${name})`, `regressor (${name})`].filter(role => blobs[role]);
    const [decoder, regressor] = await Promise.all(roles.map(role => view.network(role)));
    loaded[name] = completer(decoder, regressor ?? null, given, masks[name], dZ);
  })();
  await load(part());

  const select = choice("given: ", parts.map(p => [p.name, p.words]), name => view.set("given", name));
  const large = digitPicture(["completed at ", math("z")]);
  const answer = digitPicture("the regressor's one answer");
  const small = view.get("draws").map((_, k) => {
    const digit = digitPicture(null);
    return { digit, take: button(digit.canvas, () => view.set("z", view.get("draws")[k])) };
  });
  const sets = parts.map(p => latentSliders(view, p, () => view.get("z")));
  const again = () => view.set("draws", view.get("draws").map(() => priorDraw(dZ, limit)));
  view.root.append(make("div", { class: "vae-hand" },
    make("div", { class: "vae-side" }, select.row, source.box),
    make("div", { class: "vae-side" },
      make("div", { class: "vae-pair" }, large.box, answer.box),
      make("div", {}, ...sets.map(s => s.box), make("div", { class: "vae-buttons" },
        button("draw z from the prior", () => view.set("z", priorDraw(dZ, limit))),
        button("reset", () => view.set("z", Array(dZ).fill(0)))))),
    make("div", { class: "vae-wide" },
      make("p", { class: "vae-note" }, "other draws of ", math("z"), " from the prior; choose one to see it large"),
      make("div", { class: "vae-draws" }, ...small.map(s => s.take)),
      make("div", { class: "vae-buttons" }, button("draw others", again)))));

  const whenLoaded = paint => function painted() {
    const net = loaded[part().name];
    if (net) paint(net, part());
    else load(part()).then(() => view.guard(painted), error => view.fail(error));
  };
  view.watch(["given", "drawing", "z"], whenLoaded((net, { name, words }) => {
    const z = latentsOf(view), k = parts.findIndex(p => p.name === name), bits = source.bits();
    const what = `${words} of ${source.empty() ? "an empty picture" : source.words()} is given, in green`;
    large.show(net.complete(bits, z), `Completed digit: ${what}`, tint());
    answer.box.hidden = !net.average;
    if (net.average) answer.show(net.average(bits), `The regressor's answer: ${what}`, tint());
    select.select.value = name;
    sets.forEach((set, j) => { set.box.hidden = j !== k; });
    sets[k].show(z);
    view.say(`${what}; ${sets[k].words(z)}`);
  }));
  view.watch(["given", "drawing", "draws"], whenLoaded((net, { words }) => {
    const draws = view.get("draws"), bits = source.bits();
    if (draws.length !== small.length || !draws.every(z => z.length === dZ && z.every(Number.isFinite))) {
      throw new Error(`draws must be ${small.length} rows of ${dZ} finite numbers.`);
    }
    small.forEach(({ digit, take }, j) => {
      digit.show(net.complete(bits, draws[j]), `Completion at draw ${j + 1}`, tint());
      take.setAttribute("aria-label", `draw ${j + 1}, another completion of ${words}: show it large`);
    });
  }));
};

// Pictures of which the `given` pixels, true in the mask, are bits and the others what the nets say of them.
function completer(decoder, regressor, given, mask, dZ) {
  const nX = mask.length - given.length;
  for (const [net, nIn] of [[decoder, dZ + given.length], [regressor, given.length]]) {
    if (net && (net.nIn !== nIn || net.nOut !== nX)) {
      throw new Error(`The ${net.name} makes ${net.nOut} pixels from ${net.nIn} numbers; ` +
                      `it should make ${nX} from ${nIn}.`);
    }
  }
  const whole = (bits, x) => {
    let k = 0;
    return Float32Array.from(mask, (known, i) => (known ? bits[i] : x[k++]));
  };
  const y = bits => given.map(i => bits[i]);
  return {
    complete: (bits, z) => whole(bits, decodeMean(decoder, [...z, ...y(bits)])),
    average: regressor && (bits => whole(bits, decodeMean(regressor, y(bits)))),
  };
}
