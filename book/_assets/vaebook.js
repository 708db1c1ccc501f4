// What the theme's own scripts leave undone. Loaded before the page's body is there.
"use strict";
{
  const root = document.documentElement, say = words => globalThis.vaebookSay?.(words) ?? words;
  // The search stores its words; where storage is off it would stop there.
  try { void localStorage; } catch {
    Object.defineProperty(window, "localStorage", { value: { getItem: () => null, setItem() {}, removeItem() {} } });
  }

  // A search that lacks one of its files says so, where it would else be silent or go on for ever.
  let broken = false;
  addEventListener("error", () => { broken = true; });
  addEventListener("load", () => {
    const found = document.getElementById("search-results"), asked = new URLSearchParams(location.search).get("q");
    const lacks = broken || typeof Search !== "object" || !Search.hasIndex();
    if (!found || !asked || !lacks || found.querySelector("li")) return;
    found.textContent = say("The search does not work here: a file that it needs is missing or damaged.");
  });

  // A page from a disk may not fetch the others, whose words the search would quote below its results.
  const quotes = location.protocol !== "file:";
  if (typeof DOCUMENTATION_OPTIONS === "object") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = quotes;
  root.classList.toggle("vae-quotes", quotes);

  // Boxes that scroll get a tab stop, and a faded edge while there is more to the right. The theme forgets those that
  // open later, and those of figures; formulas have their stop from MathJax.
  const fade = box => box.classList.toggle("vae-more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  const sizes = new ResizeObserver(boxes => {
    for (const { target } of boxes) {
      if (target.localName !== "mjx-container") target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
      fade(target);
    }
  });
  const watch = selector => document.querySelectorAll(selector).forEach(box => {
    sizes.observe(box);
    box.addEventListener("scroll", () => fade(box), { passive: true });
  });
  addEventListener("DOMContentLoaded", () => watch("pre, .output, .pst-scrollable-table-container"));
  addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => watch("mjx-container[display=true]")));

  // The link to the other language leads to the section that is being read: the ids are the same there.
  const reading = () => [...document.querySelectorAll("article section[id]")]
    .findLast(section => section.getBoundingClientRect().top < innerHeight / 3);
  const keepPlace = event => {
    const link = event.target.closest?.("a.vae-language"), section = reading();
    if (link) link.hash = section?.parentElement.closest("section[id]") ? section.id : "";
  };
  for (const kind of ["pointerdown", "focusin"]) document.addEventListener(kind, keepPlace);

  // One button for all that is folded in the page: cells, solutions, boxes.
  addEventListener("DOMContentLoaded", () => {
    const article = document.querySelector(".bd-article"), bar = document.querySelector(".article-header-buttons");
    const own = ".vae-explorer, .vae-predict";
    const all = selector => [...article?.querySelectorAll(selector) ?? []].filter(box => !box.closest(own));
    if (!bar || !all("details, .admonition.dropdown, .admonition.toggle").length) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm vae-folds";
    const folded = () => all("details:not([open]), .admonition.toggle-hidden");
    const name = () => {
      const words = folded().length ? "Open all" : "Close all";
      button.textContent = say(words);
      button.setAttribute("aria-label", say(`${words} folded blocks`));
    };
    const turn = box => {
      if (box.matches("details")) box.open = !box.open;
      else box.querySelector(".toggle-button").click();
    };
    button.addEventListener("click", () => {
      const closed = folded();
      (closed.length ? closed : all("details, .admonition.toggle")).forEach(turn);
      name();
    });
    article.addEventListener("click", () => setTimeout(name)); // one block by itself
    setTimeout(name); // once the theme's own script has folded the boxes
    bar.prepend(button);
  });

  // On paper: dark ink, and folded cells open. The theme may change the colours later than the printer, so we watch.
  const print = matchMedia("print"), dark = matchMedia("(prefers-color-scheme: dark)");
  let opened = null;
  const paint = () => {
    const { mode, theme } = root.dataset;
    const night = mode === "dark" || (mode !== "light" && dark.matches);
    const wanted = night && !opened ? "dark" : "light";
    if (theme !== wanted) root.dataset.theme = wanted;
  };
  const paper = on => {
    if (on === Boolean(opened)) return;
    const folded = on ? [...document.querySelectorAll("details:not([open])")] : opened;
    for (const box of folded) box.open = on;
    opened = on ? folded : null;
    paint();
  };
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
  print.addEventListener("change", () => paper(print.matches));
  addEventListener("load", () => paper(print.matches));
  new MutationObserver(() => opened && paint()).observe(root, { attributeFilter: ["data-theme"] });
}
