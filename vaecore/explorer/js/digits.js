// Where an explorer gets its digit: the reader draws it, or steps through test digits. What is drawn is made as MNIST's
// digits were: see `normalise`. The state is `drawing`, 784 grey values as base64; only its pad knows the strokes.

const SIDE = 28, BOX = 20; // pixels: of the field, and of the box that a digit fills
const PEN = 2.4, RIM = 1.2; // pixels: width of the pen, and of its rim from ink to paper; both fitted to test digits
const MARGIN = 1.35; // pixels from the middle of a line to the edge of the box: no grey lies beyond
const CENTRE = 14.5; // of the field, as MNIST has it: the middle of pixel (14, 14), counted from 0
const LEAST = 0.06; // share of the pad below which a drawing is a dot, and is not blown up to a box

// Lines through points [x, y], of any size, as 784 grey values: the longer side of what is drawn fills 20 pixels, and
// the centre of mass lies in the middle of the field, to a whole pixel.
function normalise(lines) {
  const points = lines.flat(), greys = new Uint8Array(SIDE * SIDE);
  if (points.length === 0) return greys;
  const [left, right] = extent(points.map(p => p[0])), [top, bottom] = extent(points.map(p => p[1]));
  const scale = (BOX - 2 * MARGIN) / Math.max(right - left, bottom - top, LEAST);
  const inBox = lines.map(line => line.map(([x, y]) => [(x - left) * scale + MARGIN, (y - top) * scale + MARGIN]));
  const ink = rendered(inBox);
  let mass = 0, across = 0, down = 0;
  ink.forEach((v, i) => {
    mass += v;
    across += v * (i % BOX + 0.5);
    down += v * (Math.floor(i / BOX) + 0.5);
  });
  const shift = (moment, length) => { // so far that no ink is cut off
    const room = SIDE - Math.ceil(length * scale + 2 * MARGIN);
    return Math.max(0, Math.min(room, Math.round(CENTRE - moment / mass)));
  };
  const x = shift(across, right - left), y = shift(down, bottom - top);
  ink.forEach((v, i) => { if (v > 0) greys[(y + Math.floor(i / BOX)) * SIDE + x + i % BOX] = Math.round(255 * v); });
  return greys;
}

function extent(numbers) {
  return [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))];
}

// The ink, from 0 to 1, of 20 by 20 pixels: full within the pen of a line, then falling to nothing.
function rendered(lines) {
  const ink = new Float32Array(BOX * BOX), reach = (PEN + RIM) / 2;
  const near = (a, b) => [Math.max(0, Math.floor(Math.min(a, b) - reach)), Math.min(BOX - 1, Math.max(a, b) + reach)];
  for (const line of lines) {
    for (let k = 0; k < line.length; k++) {
      const [x0, y0] = line[Math.max(0, k - 1)], [x1, y1] = line[k], dx = x1 - x0, dy = y1 - y0;
      const [left, right] = near(x0, x1), [top, bottom] = near(y0, y1), square = dx * dx + dy * dy;
      for (let row = top; row <= bottom; row++) {
        for (let column = left; column <= right; column++) {
          const x = column + 0.5 - x0, y = row + 0.5 - y0;
          const t = square && Math.max(0, Math.min(1, (x * dx + y * dy) / square));
          const v = (PEN / 2 - Math.hypot(x - t * dx, y - t * dy)) / RIM + 0.5, i = row * BOX + column;
          if (v > ink[i]) ink[i] = Math.min(1, v);
        }
      }
    }
  }
  return ink;
}

// `greys()` and `bits()` of the digit in use, `empty()` if there is none, `words()` that say which it is, its `label()`
// if it is a test digit, and `pick(k)`, which takes test digit k. `box` is the pad with its buttons; explorers watch
// "drawing" to follow it. `caption` stands below the bits, of which `colourOf()` may tint some (see digitPicture); the
// names in `also` are values on which it depends.
async function digitSource(view, { caption = ["the bits ", make("i", {}, "x"), " that the net sees"],
                                   colourOf = () => null, also = [] } = {}) {
  const { labels } = view.settings, thresholds = bytesOf(view.settings.thresholds);
  const images = await view.images(), texts = images.map(textOf);
  let last = { text: null }, lines = [], drawn = null, place = -1;
  const now = () => {
    const text = view.get("drawing");
    if (text !== last.text) {
      const greys = drawingBytes(text);
      if (greys.length !== SIDE * SIDE) throw new Error(`A drawing is ${SIDE * SIDE} bytes; got ${greys.length}.`);
      last = { text, greys, bits: Float32Array.from(greys, (v, i) => (v > thresholds[i] ? 1 : 0)),
               empty: !greys.some(v => v), k: texts.indexOf(text) };
    }
    return last;
  };
  const words = () => {
    const { empty, k } = now();
    if (empty) return "nothing drawn yet";
    return k < 0 ? "a drawing" : `test digit ${k + 1} of ${images.length}: a ${labels[k]}`;
  };
  const pick = k => {
    place = (k + images.length) % images.length; // at once: a key held down may come twice in a frame
    view.set("drawing", texts[place]);
  };
  const which = make("div", { class: "vae-digit-caption" });
  const pad = drawingPad(which, line => {
    if (!lines.includes(line)) lines.push(line);
    drawn = textOf(normalise(lines));
    view.set("drawing", drawn);
  });
  const seen = digitPicture(caption);
  const buttons = make("div", { class: "vae-buttons" },
    button("previous", () => pick(place < 0 ? images.length - 1 : place - 1), { "aria-label": "previous test digit" }),
    button("next", () => pick(place + 1), { "aria-label": "next test digit" }),
    button("clear", () => view.set("drawing", textOf(new Uint8Array(SIDE * SIDE)))));
  const how = make("p", { class: "vae-note" },
    "Draw on the left, or step through test digits. As MNIST's digits were, a drawing is scaled until its longer " +
    `side fills ${BOX} pixels, and its centre of mass goes to the centre of ${SIDE} \u00d7 ${SIDE}.`);
  view.watch(["drawing", ...also], () => {
    const { text, greys, bits, empty, k } = now();
    if (text !== drawn) [lines, drawn] = [[], null]; // from a button, Python or another view: a line begins anew
    if (k >= 0) place = k;
    pad.show(lines, greys, empty, `Drawing pad: ${words()}`);
    seen.show(bits, empty ? "No bits: nothing drawn yet" : `The bits of the digit: ${words()}`, colourOf());
    which.textContent = words();
  });
  return {
    box: make("div", { class: "vae-source" }, make("div", { class: "vae-pair" }, pad.box, seen.box), buttons, how),
    greys: () => now().greys, bits: () => now().bits, empty: () => now().empty, words, pick,
    label: () => labels[now().k] ?? null,
  };
}

function drawingBytes(text) {
  try { return bytesOf(text); } catch {
    throw new Error(`A drawing is ${SIDE * SIDE} bytes as base64; got other text.`);
  }
}

// White paper with dark ink. `onInk` gets the line under the hand, an array of points [x, y] from 0 to 1, at its
// start and whenever it has grown.
function drawingPad(caption, onInk) {
  const size = 280, paper = digitPicture(null);
  const ink = draw("path", { class: "vae-ink" });
  const hint = draw("text", { class: "vae-hint", x: size / 2, y: size / 2 }, "draw a digit here");
  const svg = draw("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", class: "vae-pad" }, ink, hint);
  let line = null;
  const add = event => {
    const box = svg.getBoundingClientRect(), inside = v => Math.max(0, Math.min(1, v));
    const x = inside((event.clientX - box.left) / box.width), y = inside((event.clientY - box.top) / box.height);
    const before = line[line.length - 1];
    if (!before || Math.hypot(x - before[0], y - before[1]) > 0.004) line.push([x, y]);
  };
  followPointer(svg, event => {
    line = [];
    add(event);
    onInk(line);
  }, event => {
    const between = event.getCoalescedEvents?.() ?? [];
    for (const e of between.length ? between : [event]) add(e);
    onInk(line);
  });
  const d = points => points.map(([x, y]) => `${(x * size).toFixed(1)} ${(y * size).toFixed(1)}`).join("L");
  return {
    box: make("div", { class: "vae-digit-box" }, make("div", { class: "vae-pad-box" }, paper.canvas, svg), caption),
    show(lines, greys, empty, alt) {
      paper.show(lines.length ? new Uint8Array(SIDE * SIDE) : greys, "");
      paper.canvas.setAttribute("aria-hidden", "true");
      ink.setAttribute("d", lines.map(points => `M${d(points)}${points.length > 1 ? "" : "h0"}`).join(""));
      hint.style.display = empty ? "" : "none";
      svg.setAttribute("aria-label", alt);
    },
  };
}
