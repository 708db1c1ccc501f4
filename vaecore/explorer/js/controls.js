// @ts-check
// What explorers are made of: native controls with labels, and pictures of digits.

/** @import { Colours, Numbers } from "./types.d.ts" */

const SVG = "http://www.w3.org/2000/svg";
/** @type {Colours} */
const PAPER_AND_INK = [[255, 255, 255], [0, 0, 0]];

/** @typedef {string | Node | null | undefined} Child */
/** @typedef {Record<string, any> | null} Attributes */

/**
 * @template {Element} E
 * @param {E} element @param {Attributes} attributes @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/**
 * An element of HTML. Attributes whose names start with "on" are listeners.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Attributes} attributes @param {Child[]} children
 */
export function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag @param {Attributes} attributes @param {Child[]} children
 */
export function makeSvg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * With the sign that is as wide as a plus, and no negative zero.
 * @param {number} number
 */
export function minus(number, digits = 2) {
  const text = Math.abs(number).toFixed(digits);
  return (number < 0 && Number(text) !== 0 ? "\u2212" : "") + text;
}

/**
 * "z" and 3 as z with a low 3.
 * @param {string} letter @param {number | string} [index]
 */
export function symbol(letter, index) {
  return make("span", { class: "vae-symbol" }, make("i", {}, letter), index ? make("sub", {}, String(index)) : null);
}

/**
 * "log p_θ(x|z)": letters in italics, what stands behind _ low.
 * @param {string} text
 */
export function math(text) {
  const parts = text.split(/(log|KL|[a-zθϕπμσϵ](?:_[θϕ])?)/).filter(part => part);
  return make("span", { class: "vae-symbol" }, ...parts.map(part => {
    const [letter, low] = part.split("_");
    if (!/^[a-zθϕπμσϵ]$/.test(letter)) return part;
    return make("span", {}, make("i", {}, letter), low ? make("sub", {}, make("i", {}, low)) : null);
  }));
}

let counter = 0;

/**
 * An id that no other element has: the same page may hold several copies of this script.
 * @param {string} prefix
 */
export function freshId(prefix) {
  return `${prefix}-${++counter}-${Math.random().toString(36).slice(2, 8)}`;
}

/**
 * One number: its symbol, a native slider, its value. `onInput` gets the number; `set` shows another one, in `words`.
 * @param {{ label: Child, name: string, min: number, max: number, step?: number, note?: string | null,
 *           words?: (value: number) => string, onInput: (value: number) => void }} options
 */
export function slider({ label, name, min, max, step = 0.01, note, words = v => minus(v), onInput }) {
  const id = freshId("vae-slider");
  /** @type {HTMLInputElement} */
  const input = make("input", { id, type: "range", min, max, step, "aria-label": name,
                                oninput: () => onInput(Number(input.value)) });
  const value = make("output", { for: id, class: "vae-value", "aria-live": "off" }); // the slider announces its own value
  const row = make("div", { class: "vae-slider" }, make("label", { for: id }, label), input, value,
                   note ? make("span", { class: "vae-note" }, note) : null);
  return {
    row,
    input,
    /** @param {number} number */
    set(number) {
      input.value = String(number);
      value.textContent = words(number);
      input.setAttribute("aria-valuetext", words(number).replace("\u2212", "minus "));
    },
    /** Where the number has no meaning for now. @param {string} why */
    blank(why) {
      input.value = String(min);
      value.textContent = "";
      input.setAttribute("aria-valuetext", why);
    },
  };
}

/** @param {Child | Child[]} words @param {() => void} onClick @param {Attributes} attributes */
export function button(words, onClick, attributes = {}) {
  return make("button", { type: "button", onclick: onClick, ...attributes }, ...[words].flat());
}

/** @param {string} words @param {boolean} checked @param {(on: boolean) => void} onChange */
export function toggle(words, checked, onChange) {
  /** @type {HTMLInputElement} */
  const input = make("input", { type: "checkbox", onchange: () => onChange(input.checked) });
  input.checked = checked;
  return make("label", { class: "vae-toggle" }, input, words);
}

/**
 * `options` are [value, words]; `onChange` gets the value.
 * @param {string} words @param {(string | number)[][]} options @param {(value: string) => void} onChange
 */
export function choice(words, options, onChange) {
  /** @type {HTMLSelectElement} */
  const select = make("select", { onchange: () => onChange(select.value) },
                      ...options.map(([value, text]) => make("option", { value }, String(text))));
  return { row: make("label", { class: "vae-choice" }, words, select), select };
}

/**
 * Of pixels that are grey, as ink on white paper in both themes, or in colour, all reds first: RGBA, into `image`.
 * @param {ImageData} image @param {Numbers} pixels numbers in [0, 1], or bytes
 * @param {((i: number) => Colours | null) | null} [colourOf]
 */
export function fillImage(image, pixels, colourOf) {
  const n = image.width * image.height, full = pixels instanceof Uint8Array ? 255 : 1;
  for (let i = 0; i < n; i++) {
    const [paper, dark] = colourOf?.(i) ?? PAPER_AND_INK;
    for (let c = 0; c < 3; c++) {
      const grey = paper[c] + (dark[c] - paper[c]) * pixels[i] / full;
      image.data[4 * i + c] = pixels.length === n ? grey : 255 * pixels[c * n + i] / full;
    }
    image.data[4 * i + 3] = 255;
  }
}

/**
 * A picture of a digit, or of another `shape`: [rows, columns], or in colour [3, rows, columns].
 * @param {Child | Child[]} caption @param {number[]} [shape]
 */
export function digitPicture(caption, shape = [28, 28]) {
  const [height, width] = shape.slice(-2);
  const canvas = make("canvas", { width, height, role: "img", class: "vae-digit" });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  const words = caption ? make("div", { class: "vae-digit-caption" }, ...[caption].flat()) : null;
  return {
    canvas,
    box: make("div", { class: "vae-digit-box" }, canvas, words),
    /** @param {Numbers} pixels @param {string} alt @param {((i: number) => Colours | null) | null} [colourOf] */
    show(pixels, alt, colourOf) {
      fillImage(image, pixels, colourOf);
      context.putImageData(image, 0, 0);
      canvas.setAttribute("aria-label", alt);
    },
  };
}
