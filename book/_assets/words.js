// Says in the page's language what scripts write in English. The words lie in `vaebookWords`, which a page in English
// lacks: its pages do not load this file. A message may have places, {1} and so on; what stands in them is said too.
"use strict";
{
  const table = globalThis.vaebookWords ?? {}, SHORT = "((?:[^,;]|,(?=\\d))+)", LONG = "(.+)";
  const literal = text => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const messages = Object.keys(table).filter(message => message.includes("{1}")).sort((a, b) => b.length - a.length);
  const fitting = part => messages.map(message => [
    new RegExp(`^${literal(message).replace(/\\\{\d\\\}/g, part)}$`), table[message]]);
  const patterns = { short: fitting(SHORT), long: fitting(LONG) };
  const isEnglish = words => /[A-Za-z]{2}|^a /.test(words);

  const filled = (message, kind) => {
    for (const [pattern, said] of patterns[kind]) {
      const parts = pattern.exec(message);
      if (parts) return said.replace(/\{(\d)\}/g, (_, i) => say(parts[i]));
    }
    return null;
  };
  const joined = (message, separator, joint) => { // of parts of which each is a message
    const parts = message.split(separator), said = parts.map(part => (parts.length > 1 ? say(part) : part));
    return said.every((part, i) => part !== parts[i] || !isEnglish(part)) && parts.length > 1 ? said.join(joint) : null;
  };
  const translated = message => (Object.hasOwn(table, message) ? table[message] : null)
    ?? joined(message, "; ", "；") ?? filled(message, "short") ?? joined(message, /(?<=\.) (?=[A-Z])/, "")
    ?? joined(message, ", ", "、") ?? filled(message, "long") ?? message;
  function say(words) {
    if (!isEnglish(words)) return words;
    const [, before, message, after] = /^(\s*)([\s\S]*?)(\s*)$/.exec(words);
    return before + translated(message) + after;
  }
  globalThis.vaebookSay = say;

  // Explorers know no other language than English, so we follow what they write.
  const READ_OUT = ["aria-label", "aria-valuetext", "data-tooltip"];
  const sayAttributes = element => READ_OUT.forEach(name => {
    const words = element.getAttribute(name), said = words && say(words);
    if (said !== words) element.setAttribute(name, said);
  });
  const sayText = text => {
    const said = text.parentElement?.closest("code, script, style") ? text.data : say(text.data);
    if (said !== text.data) text.data = said;
  };
  const sayAll = node => {
    if (node.nodeType === Node.TEXT_NODE) return sayText(node);
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    sayAttributes(node);
    for (const child of node.childNodes) sayAll(child);
  };
  const observer = new MutationObserver(changes => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "attributes") sayAttributes(target);
      else if (type === "characterData") sayText(target);
      else addedNodes.forEach(sayAll);
    }
  });
  addEventListener("load", () => document.querySelectorAll(".copybtn").forEach(button => {
    sayAttributes(button);
    observer.observe(button, { attributeFilter: READ_OUT });
  }));
  addEventListener("DOMContentLoaded", () => document.querySelectorAll(".vae-explorer").forEach(explorer => {
    sayAll(explorer);
    observer.observe(explorer, { subtree: true, childList: true, characterData: true, attributeFilter: READ_OUT });
  }));
}
