// The pages of benchmark.py and training.py: their frames, tables that go on, baselines. In the page it follows frames.js.

whenNear($$(".item"), unpack);

// A table that goes on to the right says so until it is scrolled to its end.
for (const wide of $$(".wide")) {
  const hint = document.createElement("p");
  hint.className = "goes-on";
  hint.textContent = "The table goes on to the right →";
  wide.before(hint);
  const look = () => {
    const rest = wide.scrollWidth - wide.clientWidth - wide.scrollLeft;
    wide.classList.toggle("more", rest > 1);
    hint.hidden = wide.scrollWidth <= wide.clientWidth + 1;
    if (hint.hidden) wide.removeAttribute("tabindex");
    else wide.tabIndex = 0;
  };
  wide.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(wide);
}

for (const select of $$("select.baseline")) {
  const choose = () => {
    for (const change of $$("[data-base]", select.closest("table"))) change.hidden = change.dataset.base !== select.value;
  };
  select.addEventListener("change", choose);
  choose(); // a page that is loaded again keeps what was chosen
}
