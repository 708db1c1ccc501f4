// One explorer in its host: a widget with a kernel, or a fragment of HTML with none. Each kind of explorer is a function
// of a View and stands in KINDS; it sees no difference between the hosts.

const KINDS = {};

class View {
  constructor(model, root, load) {
    Object.assign(this, { model, root, load, settings: model.get("settings"), cleanups: [] });
    this.status = make("p", { class: "vae-status", role: "status" });
  }

  get(name) { return this.model.get(name); }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  // Calls `draw` now, and once in the next frame after any of the named values has changed.
  watch(names, draw) {
    let frame = 0;
    const guarded = () => { frame = 0; this.guard(draw); };
    const later = () => { frame ||= requestAnimationFrame(guarded); };
    for (const name of names) {
      this.model.on(`change:${name}`, later);
      this.cleanups.push(() => this.model.off(`change:${name}`, later));
    }
    draw();
  }

  // What draws or reads may fail: then the sentence of the error stands in the place of the explorer.
  guard(action) {
    try { action(); } catch (error) { this.fail(error); }
  }

  fail(error) {
    this.root.replaceChildren(make("p", { class: "vae-trouble", role: "alert" }, error.message));
    this.root.parentElement?.classList.add("vae-failed");
  }

  async blob(role) {
    const blob = await this.load(this.settings.blobs[role], role);
    return blob;
  }

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
  return () => view.ready.then(() => view.cleanups.forEach(clean => clean()));
}

function show(model, root, load) {
  const view = new View(model, root, load);
  view.ready = Promise.resolve()
    .then(() => KINDS[model.get("kind")](view))
    .then(() => { root.append(view.status); root.dataset.ready = "true"; })
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

function bring(fragment) { // to life
  const state = JSON.parse(fragment.querySelector(".vae-state").textContent);
  const root = newRoot(state.settings.name);
  fragment.append(root);
  const view = show(new Store(state), root, loadFromPage);
  fragment.vaecore = view;
  view.ready.then(() => fragment.classList.add("vae-alive"));
}

// Brings every explorer of the page to life as the reader comes near it.
function bringAll() {
  const seen = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      try { bring(target); } catch { target.classList.add("vae-failed"); } // its picture stays, the others live
    }
  }, { rootMargin: "100% 0px" });
  for (const fragment of document.querySelectorAll(".vae-explorer:not([data-seen])")) {
    fragment.dataset.seen = "true";
    seen.observe(fragment);
  }
}
