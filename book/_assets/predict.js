// Questions before a result (book/_ext/predict.py). Without this script the answer is folded; with it, it comes after a
// guess. Loaded before the page's body is there, so that nothing is seen to change.
"use strict";
{
  document.documentElement.classList.add("vae-predicts");

  document.addEventListener("submit", event => {
    const form = event.target;
    if (!form.matches(".vae-predict")) return;
    event.preventDefault();
    const { answer, tolerance } = form.dataset, guess = new FormData(form).get("guess");
    const right = tolerance ? Math.abs(guess - answer) <= Number(tolerance) + 1e-9 : guess === answer;
    const verdict = form.querySelector("output");
    verdict.append(form.querySelector(".vae-predict-reason"));
    const words = right ? "Yes." : "Not quite.";
    verdict.firstChild.textContent = globalThis.vaebookSay?.(words) ?? words;
    form.dataset.verdict = right ? "right" : "wrong";
  });

  // A verdict belongs to the guess that it was about.
  document.addEventListener("input", event => {
    const form = event.target.closest("form.vae-predict");
    if (!form) return;
    delete form.dataset.verdict;
    form.querySelector("output").firstChild.textContent = "";
  });
}
