"use strict";
// The frames of a page: each clip's JPEG lies in an inert script element. The scripts of the page follow.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Give the clips in `holder` their pictures.
function unpack(holder) {
  for (const clip of $$(".clip", holder)) {
    const bytes = Uint8Array.from(atob($(".sprite", clip).textContent), (letter) => letter.charCodeAt(0));
    const address = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    clip.style.setProperty("--sprite", `url("${address}")`);
    $(".sprite", clip).remove();
  }
}

// `act` once on each of the elements, when it comes near, and on all that are left before the page is printed.
function whenNear(elements, act) {
  const left = new Set(elements);
  const take = (element) => {
    near.unobserve(element);
    if (left.delete(element)) act(element);
  };
  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => take(entry.target)),
    { rootMargin: "1200px" },
  );
  for (const element of elements) near.observe(element);
  addEventListener("beforeprint", () => [...left].forEach(take));
}
