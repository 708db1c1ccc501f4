// @ts-check
// A part of a digit is given; a conditional VAE makes up the rest, differently for every z.

import { button, choice, digitPicture, make, math } from "./controls.js";
import { digitSource } from "./digits.js";
import { decodeMean } from "./network.js";
import { latentSliders, latentsOf, priorDraw } from "./sliders.js";

/** @import { Colours, Completer, CompletionSettings, GivenPart, Kind, Network, Numbers } from "./types.d.ts" */
/** @import { View } from "./view.js" */

/** @type {Kind<CompletionSettings>} */
export const completion = {
  room: () => [64.6, 38.5],

  async show(view) {
    const { d_z: dZ, parts, limit, green } = view.settings;
    const part = () => {
      const found = parts.find(p => p.name === view.get("given"));
      if (!found) throw new Error(`given must be one of ${parts.map(p => p.name).join(", ")}; got ${view.get("given")}.`);
      return found;
    };
    const nets = netsOfParts(view);
    const tint = () => (mask => (/** @type {number} */ i) => (mask[i] ? green : null))(maskOf(part()));
    const source = await digitSource(view, {
      caption: ["given, in green: ", math("y")], colourOf: tint, also: ["given"],
    });
    await nets.load(part());

    const select = choice("given: ", parts.map(p => [p.name, p.words]), name => view.set("given", name));
    const large = digitPicture(["completed at ", math("z")]);
    const answer = digitPicture("the regressor's one answer");
    const draws = drawsRow(view);
    const sets = parts.map(p => latentSliders(view, p, () => view.get("z")));
    view.root.append(make("div", { class: "vae-hand" },
      make("div", { class: "vae-side" }, select.row, source.box),
      make("div", { class: "vae-side" },
        make("div", { class: "vae-pair" }, large.box, answer.box),
        make("div", {}, ...sets.map(s => s.box), make("div", { class: "vae-buttons" },
          button("draw z from the prior", () => view.set("z", priorDraw(dZ, limit))),
          button("reset", () => view.set("z", Array(dZ).fill(0)))))),
      draws.box));

    /** @param {(net: Completer, part: GivenPart) => void} paint */
    const whenLoaded = paint => function painted() {
      const net = nets.loaded(part());
      if (net) paint(net, part());
      else nets.load(part()).then(() => view.guard(painted), error => view.fail(error));
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
    view.watch(["given", "drawing", "draws"], whenLoaded((net, { words }) =>
      draws.show(z => net.complete(source.bits(), z), words, tint())));
  },
};

/** Which of the 784 pixels are given. @param {GivenPart} part */
function maskOf({ given }) {
  const mask = Array(784).fill(false);
  for (const i of given) mask[i] = true;
  return mask;
}

/**
 * The nets of each part, which arrive when the reader first chooses it.
 * @param {View<CompletionSettings>} view
 */
function netsOfParts(view) {
  const { blobs, d_z: dZ } = view.settings;
  /** @type {Record<string, Completer>} */
  const loaded = {};
  /** @type {Record<string, Promise<void>>} */
  const loading = {};
  return {
    /** @param {GivenPart} part */
    loaded: part => loaded[part.name],
    /** @param {GivenPart} part */
    load: part => loading[part.name] ??= (async () => {
      const roles = [`decoder (${part.name})`, `regressor (${part.name})`].filter(role => blobs[role]);
      const [decoder, regressor] = await Promise.all(roles.map(role => view.network(role)));
      loaded[part.name] = completer(decoder, regressor ?? null, part.given, maskOf(part), dZ);
    })(),
  };
}

/**
 * Small pictures at other draws of z, each of which a click makes the large one.
 * @param {View<CompletionSettings>} view
 */
function drawsRow(view) {
  const { d_z: dZ, limit } = view.settings;
  const draws = () => /** @type {number[][]} */ (view.get("draws"));
  const small = draws().map((_, k) => {
    const digit = digitPicture(null);
    return { digit, take: button(digit.canvas, () => view.set("z", draws()[k])) };
  });
  return {
    box: make("div", { class: "vae-wide" },
      make("p", { class: "vae-note" }, "other draws of ", math("z"), " from the prior; choose one to see it large"),
      make("div", { class: "vae-draws" }, ...small.map(s => s.take)),
      make("div", { class: "vae-buttons" },
        button("draw others", () => view.set("draws", draws().map(() => priorDraw(dZ, limit)))))),
    /**
     * @param {(z: number[]) => Float32Array} complete @param {string} words
     * @param {(i: number) => Colours | null} colourOf
     */
    show(complete, words, colourOf) {
      if (draws().length !== small.length || !draws().every(z => z.length === dZ && z.every(Number.isFinite))) {
        throw new Error(`draws must be ${small.length} rows of ${dZ} finite numbers.`);
      }
      small.forEach(({ digit, take }, k) => {
        digit.show(complete(draws()[k]), `Completion at draw ${k + 1}`, colourOf);
        take.setAttribute("aria-label", `draw ${k + 1}, another completion of ${words}: show it large`);
      });
    },
  };
}

/**
 * Pictures of which the `given` pixels, true in the mask, are bits; the nets say the others.
 * @param {Network} decoder @param {Network | null} regressor @param {number[]} given @param {boolean[]} mask
 * @param {number} dZ @returns {Completer}
 */
export function completer(decoder, regressor, given, mask, dZ) {
  const nX = mask.length - given.length;
  for (const { net, nIn } of [{ net: decoder, nIn: dZ + given.length }, { net: regressor, nIn: given.length }]) {
    if (net && (net.nIn !== nIn || net.nOut !== nX)) {
      throw new Error(`The ${net.name} makes ${net.nOut} pixels from ${net.nIn} numbers; ` +
                      `it should make ${nX} from ${nIn}.`);
    }
  }
  /** @param {Numbers} bits @param {Numbers} x */
  const whole = (bits, x) => {
    let k = 0;
    return Float32Array.from(mask, (known, i) => (known ? bits[i] : x[k++]));
  };
  const y = (/** @type {Numbers} */ bits) => given.map(i => bits[i]);
  return {
    complete: (bits, z) => whole(bits, decodeMean(decoder, [...z, ...y(bits)])),
    average: regressor && (bits => whole(bits, decodeMean(regressor, y(bits)))),
  };
}
