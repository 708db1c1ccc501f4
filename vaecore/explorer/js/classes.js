// @ts-check
// One z as every class.

import { asEveryClass, classRow } from "./class_row.js";
import { button, make } from "./controls.js";
import { latentSliders, latentsOf, priorDraw } from "./sliders.js";

/** @import { ClassesSettings, Kind } from "./types.d.ts" */

/** @type {Kind<ClassesSettings>} */
export const classes = {
  room: () => [24.6, 18.4],

  async show(view) {
    const { d_z: dZ, n_classes: nClasses, limit } = view.settings;
    const decoder = await view.network("decoder");
    if (decoder.nIn !== dZ + nClasses) {
      throw new Error(`The decoder takes ${decoder.nIn} numbers; z and the class have ${dZ + nClasses}.`);
    }
    const row = classRow(nClasses), sliders = latentSliders(view, view.settings, () => view.get("z"));
    const buttons = make("div", { class: "vae-buttons" },
      button("draw z from the prior", () => view.set("z", priorDraw(dZ, limit))),
      button("reset", () => view.set("z", Array(dZ).fill(0))));
    view.root.append(make("div", { class: "vae-side" }, row.box, make("div", {}, sliders.box, buttons)));

    view.watch(["z"], () => {
      const z = latentsOf(view);
      row.show(asEveryClass(decoder, z, nClasses));
      sliders.show(z);
      view.say(`One z as the classes 0 to ${nClasses - 1}; ${sliders.words(z)}`);
    });
  },
};
