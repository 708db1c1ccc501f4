// @ts-check
// What a kind of explorer sees of its host: the values that it shows and sets, and the blobs that it reads.

import { inflated, readBytes, readNetwork } from "./blobs.js";
import { make } from "./controls.js";

/** @import { Load, Model, Settings } from "./types.d.ts" */

/** @template {Settings} [S=Settings] */
export class View {
  /** @type {(() => void)[]} */
  cleanups = [];
  /** @type {number | undefined} */
  saying = undefined;
  /** @type {Promise<void>} */
  ready = Promise.resolve();

  /** @param {Model} model @param {HTMLElement} root @param {Load} load */
  constructor(model, root, load) {
    this.model = model;
    this.root = root;
    this.load = load;
    this.settings = /** @type {S} */ (model.get("settings"));
    this.status = make("p", { class: "vae-status", role: "status" });
  }

  /** @param {string} name */
  get(name) { return this.model.get(name); }

  /**
   * One value, or several in an object: those go to the kernel together.
   * @param {string | Record<string, unknown>} name @param {unknown} [value]
   */
  set(name, value) {
    const values = typeof name === "string" ? { [name]: value } : name;
    for (const [each, one] of Object.entries(values)) this.model.set(each, one);
    this.model.save_changes();
  }

  /**
   * Calls `paint` now, and once after each event that has changed any of the named values.
   * @param {string[]} names @param {() => void} paint
   */
  watch(names, paint) {
    let waiting = false, ended = false;
    const later = () => {
      if (waiting) return;
      waiting = true;
      queueMicrotask(() => { // when all values of the event are set; the next frame then shows it
        waiting = false;
        if (!ended) this.guard(paint);
      });
    };
    for (const name of names) {
      this.model.on(`change:${name}`, later);
      this.cleanups.push(() => this.model.off(`change:${name}`, later));
    }
    this.cleanups.push(() => { ended = true; });
    paint();
  }

  /**
   * Painting and reading may fail: then the error's sentence stands where the explorer was.
   * @param {() => void} action
   */
  guard(action) {
    try { action(); } catch (error) { this.fail(error); }
  }

  /** @param {Error} error */
  fail(error) {
    this.end();
    this.root.replaceChildren(make("p", { class: "vae-trouble", role: "alert" }, error.message));
    this.root.parentElement?.classList.add("vae-failed");
  }

  end() {
    clearTimeout(this.saying);
    for (const clean of this.cleanups.splice(0)) clean();
  }

  /** @param {string} role */
  async blob(role) { return this.load(this.settings.blobs[role], role); }

  /** @param {string} role */
  async network(role) { return readNetwork(await this.blob(role), role); }

  async images(role = "images") {
    const blob = await this.blob(role), packed = readBytes(blob.pixels, role);
    const pixels = blob.pixels.kind === "deflate" ? await inflated(packed) : packed, d = pixels.length / blob.n;
    return Array.from({ length: blob.n }, (_, i) => pixels.subarray(i * d, (i + 1) * d));
  }

  /**
   * For screen readers: what the picture shows, once the hand rests.
   * @param {string} words
   */
  say(words) {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { this.status.textContent = words; }, 500);
  }
}
