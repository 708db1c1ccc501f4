// One explorer in its host: a widget with a kernel, or a fragment of HTML with none. Each kind of explorer is a function
// of a View and stands in KINDS; it sees no difference between the hosts.

const KINDS = {};
const ROOM = {}; // about how many em high a kind is, in a narrow page and in a wide one

class View {
  constructor(model, root, load) {
    Object.assign(this, { model, root, load, settings: model.get("settings"), cleanups: [] });
    this.status = make("p", { class: "vae-status", role: "status" });
  }

  get(name) { return this.model.get(name); }

  // One value, or several in an object: they go to the kernel together.
  set(name, value) {
    const values = typeof name === "string" ? { [name]: value } : name;
    for (const [each, one] of Object.entries(values)) this.model.set(each, one);
    this.model.save_changes();
  }

  // Calls `draw` now, and once after each event that has changed any of the named values.
  watch(names, draw) {
    let waiting = false, ended = false;
    const later = () => {
      if (waiting) return;
      waiting = true;
      queueMicrotask(() => { // when all values of the event are set; the next frame then shows it
        waiting = false;
        if (!ended) this.guard(draw);
      });
    };
    for (const name of names) {
      this.model.on(`change:${name}`, later);
      this.cleanups.push(() => this.model.off(`change:${name}`, later));
    }
    this.cleanups.push(() => { ended = true; });
    draw();
  }

  // What draws or reads may fail: then the sentence of the error stands in the place of the explorer.
  guard(action) {
    try { action(); } catch (error) { this.fail(error); }
  }

  fail(error) {
    this.end();
    this.root.replaceChildren(make("p", { class: "vae-trouble", role: "alert" }, error.message));
    this.root.parentElement?.classList.add("vae-failed");
  }

  end() {
    clearTimeout(this.saying);
    for (const clean of this.cleanups.splice(0)) clean();
  }

  async blob(role) { return this.load(this.settings.blobs[role], role); }

  async network(role) { return readNetwork(await this.blob(role), role); }

  async images(role = "images") {
    const blob = await this.blob(role), pixels = readPart(blob.pixels, role), d = pixels.length / blob.n;
    return Array.from({ length: blob.n }, (_, i) => pixels.subarray(i * d, (i + 1) * d));
  }

  // For screen readers: what the picture shows, once the hand rests.
  say(words) {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { this.status.textContent = words; }, 500);
  }
}

// JupyterLab takes keys as commands of the notebook (arrows, letters) unless the element that has the focus forbids it.
function keepKeys({ target }) { target.setAttribute("data-lm-suppress-shortcuts", "true"); }

function newRoot(name) {
  return make("div", { class: "vae-live", role: "group", "aria-label": name, onfocusin: keepKeys });
}

function render({ model, el }) {
  const root = newRoot(model.get("settings").name);
  el.append(root);
  const blobs = model.get("blobs");
  const load = async (id, role) => {
    if (!blobs[id]) throw new Error(`The ${role} of this explorer did not arrive; run its cell again.`);
    return JSON.parse(blobs[id]);
  };
  const view = show(model, root, load);
  el.classList.add("vae-host");
  return () => view.ready.then(() => view.end());
}

function show(model, root, load) {
  const view = new View(model, root, load);
  view.ready = Promise.resolve()
    .then(() => KINDS[model.get("kind")](view))
    .then(() => {
      const { note } = view.settings;
      if (note && !view.get("picture")) root.append(make("p", { class: "vae-note" }, note)); // not if a kernel decodes
      root.append(view.status);
      root.dataset.ready = "true";
    })
    .catch(error => view.fail(error));
  return view;
}

// --- with no kernel ---------------------------------------------------------------------------------------------

class Store { // as much of a widget's model as explorers use
  constructor(values) { this.values = values; this.handlers = {}; }

  get(name) { return this.values[name]; }

  set(name, value) {
    this.values[name] = value;
    for (const handle of this.handlers[`change:${name}`] ?? []) handle();
  }

  on(event, handle) { (this.handlers[event] ??= new Set()).add(handle); }

  off(event, handle) { this.handlers[event]?.delete(handle); }

  save_changes() {}
}

const fetched = {}; // by content: explorers that share a net wait for the same promise

// A blob stands in the page itself or, where the page has been built, in a script of its own beside it.
function loadFromPage(id, role) {
  return fetched[id] ??= new Promise((resolve, reject) => {
    const trouble = () => reject(new Error(`The ${role} of this explorer could not be loaded; load the page again.`));
    const place = [...document.querySelectorAll(".vae-blob")].find(e => e.dataset.id === id);
    const arrived = text => {
      try { resolve(JSON.parse(text)); } catch { trouble(); }
    };
    if (!place) return trouble();
    if (!place.dataset.src) return arrived(place.textContent);
    const script = make("script", { src: place.dataset.src });
    script.onerror = trouble;
    script.onload = () => arrived(globalThis.vaecoreBlobs?.[id]);
    document.head.append(script);
  });
}

function bring(fragment) { // to life; in a page that was saved alive, what had been drawn is in the way
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
function keepRoom(fragment) {
  try {
    const { kind, settings } = JSON.parse(fragment.querySelector(".vae-state").textContent);
    const [narrow, wide] = ROOM[kind](settings);
    fragment.style.minHeight = `calc(${fragment.clientWidth < 510 ? narrow : wide} * max(0.9375rem, 14px))`;
  } catch { /* it arrived damaged, and will say so */ }
}

// Brings every explorer of the page to life as the reader comes near it.
function bringAll() {
  const near = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      bring(target);
    }
  }, { rootMargin: "100% 0px" });
  const known = globalThis.vaecoreKnown ??= new WeakSet(); // not a mark in the page: a saved page would keep it
  for (const fragment of document.querySelectorAll(".vae-explorer")) {
    for (const said of fragment.querySelectorAll(":scope > .vae-asleep")) said.hidden = true;
    if (!known.has(fragment)) {
      keepRoom(fragment);
      near.observe(fragment);
    }
    known.add(fragment);
  }
}
