// @ts-check
// One explorer in its host: a widget with a kernel, or a fragment of HTML without one. A kind of explorer sees no
// difference between the two.

import { make } from "./controls.js";
import { KINDS } from "./kinds.js";
import { View } from "./view.js";

/** @import { Load, Model, State } from "./types.d.ts" */

// JupyterLab takes keys as commands of the notebook (arrows, letters) unless the element that has the focus forbids it.
/** @param {FocusEvent} event */
function keepKeys({ target }) {
  /** @type {Element} */ (target).setAttribute("data-lm-suppress-shortcuts", "true");
}

/** @param {string} name */
function newRoot(name) {
  return make("div", { class: "vae-live", role: "group", "aria-label": name, onfocusin: keepKeys });
}

/**
 * What anywidget calls: one view of a widget, in `el`; what it returns ends the view.
 * @param {{ model: Model, el: HTMLElement }} widget
 */
export function render({ model, el }) {
  const root = newRoot(model.get("settings").name);
  el.append(root);
  const blobs = model.get("blobs");
  /** @type {Load} */
  const load = async (id, role) => {
    if (!blobs[id]) throw new Error(`The ${role} of this explorer did not arrive; run its cell again.`);
    return JSON.parse(blobs[id]);
  };
  const view = show(model, root, load);
  el.classList.add("vae-host");
  return () => view.ready.then(() => view.end());
}

/** @param {Model} model @param {HTMLElement} root @param {Load} load */
function show(model, root, load) {
  const view = new View(model, root, load);
  view.ready = Promise.resolve()
    .then(() => KINDS[model.get("kind")].show(view))
    .then(() => {
      const { note } = view.settings;
      if (note && !view.get("picture")) root.append(make("p", { class: "vae-note" }, note)); // not if a kernel decodes
      root.append(view.status);
      root.dataset.ready = "true";
    })
    .catch(error => view.fail(error));
  return view;
}

// --- without a kernel ---------------------------------------------------------------------------------------------

/** @implements {Model} */
export class Store {
  /** @type {Record<string, Set<() => void>>} */
  handlers = {};

  /** @param {State} values */
  constructor(values) { this.values = values; }

  /** @param {string} name */
  get(name) { return this.values[name]; }

  /** @param {string} name @param {unknown} value */
  set(name, value) {
    this.values[name] = value;
    for (const handle of this.handlers[`change:${name}`] ?? []) handle();
  }

  /** @param {string} event @param {() => void} handle */
  on(event, handle) { (this.handlers[event] ??= new Set()).add(handle); }

  /** @param {string} event @param {() => void} handle */
  off(event, handle) { this.handlers[event]?.delete(handle); }

  save_changes() {}
}

/** @typedef {HTMLElement & { vaecore?: View }} Fragment */

/** @type {{ vaecoreBlobs?: Record<string, string>, vaecoreKnown?: WeakSet<Fragment> }} */
const shared = /** @type {any} */ (globalThis); // by all scripts of a page

/** @param {ParentNode} root @param {string} selector @returns {Fragment[]} */
function elements(root, selector) { return [...root.querySelectorAll(selector)].map(e => /** @type {Fragment} */ (e)); }

/** @type {Record<string, Promise<any>>} */
const fetched = {}; // by content: explorers that share a net wait for the same promise

/**
 * A blob stands in the page itself or, where the page has been built, in a script of its own next to it.
 * @type {Load}
 */
function loadFromPage(id, role) {
  return fetched[id] ??= new Promise((resolve, reject) => {
    const trouble = () => reject(new Error(`The ${role} of this explorer could not be loaded; load the page again.`));
    const place = elements(document, ".vae-blob").find(e => e.dataset.id === id);
    const arrived = (/** @type {string} */ text) => {
      try { resolve(JSON.parse(text)); } catch { trouble(); }
    };
    if (!place) return trouble();
    if (!place.dataset.src) return arrived(place.textContent);
    const script = make("script", { src: place.dataset.src });
    script.onerror = trouble;
    script.onload = () => arrived(shared.vaecoreBlobs?.[id]);
    document.head.append(script);
  });
}

// Brings one to life. In a page that was saved alive, what had been drawn then is in the way.
/** @param {Fragment} fragment */
function bring(fragment) {
  fragment.querySelector(":scope > .vae-live")?.remove();
  fragment.classList.remove("vae-alive", "vae-failed");
  const root = newRoot("Explorer");
  fragment.append(root);
  let state = null;
  try { state = JSON.parse(fragment.querySelector(".vae-state").textContent); } catch {
    root.append(make("p", { class: "vae-trouble", role: "alert" }, "This explorer arrived damaged; load the page again."));
    return fragment.classList.add("vae-alive", "vae-failed");
  }
  root.setAttribute("aria-label", state.settings.name);
  const view = show(new Store(state), root, loadFromPage);
  fragment.vaecore = view;
  view.ready.then(() => {
    fragment.classList.add("vae-alive");
    fragment.style.minHeight = "";
  });
}

// Until it comes to life an explorer takes the room that it will need: what stands below it should not jump then.
/** @param {Fragment} fragment */
function keepRoom(fragment) {
  try {
    const { kind, settings } = JSON.parse(fragment.querySelector(".vae-state").textContent);
    const [narrow, wide] = KINDS[kind].room(settings);
    fragment.style.minHeight = `calc(${fragment.clientWidth < 510 ? narrow : wide} * max(0.9375rem, 14px))`;
  } catch { /* it arrived damaged, and will say so */ }
}

// Brings every explorer of the page to life as the reader comes near it.
export function bringAll() {
  const near = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      bring(/** @type {Fragment} */ (target));
    }
  }, { rootMargin: "100% 0px" });
  const known = shared.vaecoreKnown ??= new WeakSet(); // not a mark in the page: a saved page would keep it
  for (const fragment of elements(document, ".vae-explorer")) {
    for (const asleep of elements(fragment, ":scope > .vae-asleep")) asleep.hidden = true;
    if (!known.has(fragment)) {
      keepRoom(fragment);
      near.observe(fragment);
    }
    known.add(fragment);
  }
}
