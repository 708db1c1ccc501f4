// What explorers are made of: native controls with labels, pictures of digits, and a plane of latents.

const SVG = "http://www.w3.org/2000/svg";
const PAPER = [255, 255, 255], DARK_INK = [0, 0, 0];

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function minus(number, digits = 2) { // with the sign that is as wide as a plus, and no negative zero
  const text = Math.abs(number).toFixed(digits);
  return (number < 0 && Number(text) !== 0 ? "\u2212" : "") + text;
}

// "z" and 3 as z with a low 3.
function symbol(letter, index) {
  return make("span", { class: "vae-symbol" }, make("i", {}, letter), index ? make("sub", {}, String(index)) : null);
}

// "log p_θ(x|z)": letters in italics, what stands behind _ low.
function math(text) {
  const parts = text.split(/(log|KL|[a-zθϕπμσϵ](?:_[θϕ])?)/).filter(part => part);
  return make("span", { class: "vae-symbol" }, ...parts.map(part => {
    const [letter, low] = part.split("_");
    if (!/^[a-zθϕπμσϵ]$/.test(letter)) return part;
    return make("span", {}, make("i", {}, letter), low ? make("sub", {}, make("i", {}, low)) : null);
  }));
}

let counter = 0;

// One number: its symbol, a native slider, its value. `onInput` gets the number; `set` shows another one.
function slider({ label, name, min, max, step = 0.01, digits = 2, note, onInput }) {
  const id = `vae-slider-${++counter}-${Math.random().toString(36).slice(2, 8)}`;
  const input = make("input", { id, type: "range", min, max, step, "aria-label": name,
                                oninput: () => onInput(Number(input.value)) });
  const value = make("output", { for: id, class: "vae-value", "aria-live": "off" }); // the slider tells its own value
  const row = make("div", { class: "vae-slider" }, make("label", { for: id }, label), input, value,
                   note ? make("span", { class: "vae-note" }, note) : null);
  return {
    row,
    input,
    set(number) {
      input.value = number;
      value.textContent = minus(number, digits);
      input.setAttribute("aria-valuetext", minus(number, digits).replace("\u2212", "minus "));
    },
    blank(words) { // where the number has no meaning for now
      input.value = min;
      value.textContent = "";
      input.setAttribute("aria-valuetext", words);
    },
  };
}

function button(words, onClick, attributes = {}) {
  return make("button", { type: "button", onclick: onClick, ...attributes }, words);
}

function toggle(words, checked, onChange) {
  const input = make("input", { type: "checkbox", onchange: () => onChange(input.checked) });
  input.checked = checked;
  return make("label", { class: "vae-toggle" }, input, words);
}

// `options` are [value, words]; `onChange` gets the value.
function choice(words, options, onChange) {
  const select = make("select", { onchange: () => onChange(select.value) },
                      ...options.map(([value, text]) => make("option", { value }, text)));
  return { row: make("label", { class: "vae-choice" }, words, select), select };
}

// A picture of a digit: white paper, dark ink, in both themes. `show` takes numbers in [0, 1], or bytes.
function digitPicture(caption, [nRows, nColumns] = [28, 28]) {
  const canvas = make("canvas", { width: nColumns, height: nRows, role: "img", class: "vae-digit" });
  const context = canvas.getContext("2d"), image = context.createImageData(nColumns, nRows);
  const words = caption ? make("div", { class: "vae-digit-caption" }, ...[caption].flat()) : null;
  return {
    canvas,
    box: make("div", { class: "vae-digit-box" }, canvas, words),
    show(pixels, alt, colourOf = null) {
      const full = pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray ? 255 : 1;
      for (let i = 0; i < pixels.length; i++) {
        const ink = pixels[i] / full, [paper, dark] = colourOf?.(i) ?? [PAPER, DARK_INK];
        for (let c = 0; c < 3; c++) image.data[4 * i + c] = paper[c] + (dark[c] - paper[c]) * ink;
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
      canvas.setAttribute("aria-label", alt);
    },
  };
}

// Follows a finger, pen or mouse button (the main one) from where it goes down until it goes up.
function followPointer(element, onDown, onMove) {
  let down = false;
  element.addEventListener("pointerdown", event => {
    if (!event.isPrimary || event.button !== 0) return;
    event.preventDefault(); // or the mouse would begin to select text
    element.setPointerCapture(event.pointerId);
    down = true;
    onDown(event);
  });
  element.addEventListener("pointermove", event => { if (down && event.isPrimary) onMove(event); });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { down = false; });
}

function axisName(index, x, y) {
  return draw("text", { class: "vae-tick vae-axis", x, y }, "z",
              draw("tspan", { dy: 3, "font-size": 8 }, String(index)));
}

// Two latents as a plane from -limit to limit: what the decoder makes of it, the prior's circle, codes of test digits, and
// the point z that a hand can drag; with `onClick` in place of `onMove`, a plane to click on, which lets a thumb scroll.
function plane(view, { limit, radius, codes, labels, onMove, onClick }) {
  const size = 320, at = v => (v / limit + 1) * size / 2, up = v => (1 - v / limit) * size / 2;
  const canvas = make("canvas", { class: "vae-manifold", width: 448, height: 448, "aria-hidden": "true" });
  const marks = draw("g", { class: "vae-codes" }, ...codes.map(([a, b], i) =>
    draw("text", { x: at(a).toFixed(1), y: up(b).toFixed(1) }, String(labels[i]))));
  const path = draw("line", { class: "vae-path" });
  const over = draw("g", {}); // for what else a kind of explorer shows
  const point = draw("g", { class: "vae-point" }, draw("circle", { r: 7 }), draw("circle", { r: 1.5 }));
  const ticks = [-2, 0, 2].flatMap(v => [
    draw("text", { class: "vae-tick", x: at(v), y: size - 5 }, minus(v, 0)),
    draw("text", { class: "vae-tick", x: 10, y: up(v) }, v === 0 ? "" : minus(v, 0)),
  ]);
  ticks.push(axisName(1, size - 12, size - 6), axisName(2, 12, 10));
  const svg = draw("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", class: "vae-plane" },
    draw("circle", { class: "vae-prior", cx: size / 2, cy: size / 2, r: radius / limit * size / 2 }),
    ...ticks, marks, path, over, point);
  const placed = event => {
    const box = svg.getBoundingClientRect();
    const clip = v => Math.max(-limit, Math.min(limit, v));
    return [clip(((event.clientX - box.left) / box.width * 2 - 1) * limit),
            clip((1 - (event.clientY - box.top) / box.height * 2) * limit)].map(v => Math.round(v * 100) / 100);
  };
  if (onMove) followPointer(svg, event => onMove(placed(event)), event => onMove(placed(event)));
  else svg.addEventListener("click", event => onClick(placed(event)));
  svg.classList.toggle("vae-clicked", !onMove);
  return {
    box: make("div", { class: "vae-plane-box" }, canvas, svg),
    svg, canvas, marks, over, at, up, scale: size / 2 / limit,
    show([a, b], alt) {
      point.setAttribute("transform", `translate(${at(a)} ${up(b)})`);
      svg.setAttribute("aria-label", alt);
    },
    showPath(from, to) { // or none, without ends
      path.style.display = from ? "" : "none";
      if (!from) return;
      const ends = { x1: at(from[0]), y1: up(from[1]), x2: at(to[0]), y2: up(to[1]) };
      for (const [name, value] of Object.entries(ends)) path.setAttribute(name, value);
    },
  };
}

// Paints what `picture(z)` gives at n by n points of a plane, a few in every frame, as ink without paper.
function paintManifold(view, { canvas }, picture, limit, n = 16) {
  const side = canvas.width / n, context = canvas.getContext("2d");
  const tile = make("canvas", { width: 28, height: 28 }), pen = tile.getContext("2d");
  const image = pen.createImageData(28, 28);
  let k = 0, frame = 0;
  view.cleanups.push(() => cancelAnimationFrame(frame));
  const some = () => {
    const until = performance.now() + 6; // milliseconds: most of the frame is left to the hand
    for (; k < n * n && performance.now() < until; k++) {
      const row = Math.floor(k / n), column = k % n;
      const z = [((column + 0.5) / n * 2 - 1) * limit, (1 - (row + 0.5) / n * 2) * limit];
      picture(z).forEach((ink, i) => { image.data[4 * i + 3] = 255 * ink; });
      pen.putImageData(image, 0, 0);
      context.drawImage(tile, column * side, row * side, side, side);
    }
    if (k < n * n) frame = requestAnimationFrame(() => view.guard(some));
  };
  frame = requestAnimationFrame(() => view.guard(some));
}
