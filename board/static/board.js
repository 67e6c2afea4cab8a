// Keys: j and k move between what can be opened, Enter opens it, left and right turn pages, / searches.
"use strict";

function step(by) {
  const cards = [...document.querySelectorAll("[data-card]")];
  if (!cards.length) return;
  const at = cards.indexOf(document.activeElement.closest("[data-card]"));
  const next = at < 0 ? (by > 0 ? 0 : cards.length - 1) : Math.min(Math.max(at + by, 0), cards.length - 1);
  cards[next].focus({ preventScroll: true });
  cards[next].scrollIntoView({ block: "center" });
}

function follow(selector) {
  const link = document.querySelector(selector);
  if (link) link.click();
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  ArrowLeft: () => follow("a[rel=prev]"),
  ArrowRight: () => follow("a[rel=next]"),
  "/": () => document.querySelector("[data-search]")?.focus(),
  Enter: () => document.activeElement.matches("article[data-card]")
    && document.activeElement.querySelector("a")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  if (target.closest("input, select, textarea, [contenteditable], .scroll, .diff")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act || (event.key === "Enter" && !target.matches("article[data-card]"))) return;
  event.preventDefault();
  act();
});
