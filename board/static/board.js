// Keys: j and k move between what can be opened, Enter opens it, left and right turn pages, / searches.
// In a review j and k lead to the next and the one before; a goes to Accept, r to the reason, e to the edit.
"use strict";

function step(by) {
  const cards = [...document.querySelectorAll("[data-card]")];
  if (!cards.length) {
    follow(by > 0 ? "a[rel=next]" : "a[rel=prev]");
    return;
  }
  const at = cards.indexOf(document.activeElement.closest("[data-card]"));
  const next = at < 0 ? (by > 0 ? 0 : cards.length - 1) : Math.min(Math.max(at + by, 0), cards.length - 1);
  cards[next].focus({ preventScroll: true });
  cards[next].scrollIntoView({ block: "center" });
}

function follow(selector) {
  const link = document.querySelector(selector);
  if (link) link.click();
}

function goTo(selector) {
  const target = document.querySelector(selector);
  if (!target) return;
  target.focus({ preventScroll: true }); // it is in sight, wherever the reviewer reads
  if (target.select) target.select();
}

function edit() {
  const fields = document.querySelector("#edit");
  if (!fields) return;
  fields.open = true;
  fields.querySelector("textarea").focus();
}

const KEYS = {
  a: () => goTo("[data-accept]"),
  r: () => goTo("[data-reason]"),
  e: edit,
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
    if (event.key === "Enter" && target.matches("[data-reason]")) {
      event.preventDefault();
      document.querySelector("[data-reject]").click();
    }
    return;
  }
  const act = KEYS[event.key];
  if (!act || (event.key === "Enter" && !target.matches("article[data-card]"))) return;
  event.preventDefault();
  act();
});

// A reviewer's name stays in this browser; an answer is sent once, however often it is clicked.
const review = document.querySelector("[data-review]");
if (review) {
  const by = review.querySelector("[data-by]");
  if (by) by.value = localStorage.getItem("reviewer") || by.value;
  review.querySelector("[data-edit]")?.addEventListener("click", (event) => {
    event.preventDefault();
    edit();
  });
  review.addEventListener("submit", (event) => {
    if (review.dataset.sent) event.preventDefault();
    review.dataset.sent = "once";
    if (by.value.trim()) localStorage.setItem("reviewer", by.value.trim());
  });
  window.addEventListener("pageshow", () => delete review.dataset.sent);
}
