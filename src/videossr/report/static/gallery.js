// Behavior of the gallery page: filters, keys, switches. In the page it follows player.js and gallery_strips.js.

const cards = $$(".card");
const filters = { task: "", category: "", q: "" };
const PAPER = 640; // pixels: as wide as a strip may be on A4 and on letter
const sizes = [0.65, 1, 1.4, 2.1, 3.2];
let current = null;
let size = 1;

// ---- Filters and the address

const isHidden = (card) => card.classList.contains("hidden-card");
const shown = () => cards.filter((card) => !isHidden(card));

function fits(card, { task, category, q }) {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  return (
    (!task || card.dataset.task === task) &&
    (!category || card.dataset.category === category) &&
    words.every((word) => card.dataset.search.includes(word))
  );
}

function chips(holder, kind, others) {
  const counts = new Map();
  for (const card of cards) {
    const value = card.dataset[kind];
    if (fits(card, { ...filters, [kind]: "", ...others })) counts.set(value, (counts.get(value) ?? 0) + 1);
    else if (kind === "task") counts.set(value, counts.get(value) ?? 0);
  }
  if (filters[kind] && !counts.has(filters[kind])) counts.set(filters[kind], 0);
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const focused = holder.contains(document.activeElement) ? document.activeElement.dataset.value : null;
  holder.replaceChildren(
    ...[["", total], ...[...counts].sort(([a], [b]) => (a < b ? -1 : 1))].map(([value, count]) => {
      const button = make("button", "", value || `All ${kind}s`);
      button.type = "button";
      button.dataset.value = value;
      button.setAttribute("aria-pressed", String(filters[kind] === value));
      button.append(" ", make("b", "", String(count)));
      button.addEventListener("click", () => {
        filters[kind] = value;
        if (kind === "task") filters.category = "";
        filter();
      });
      return button;
    }),
  );
  if (focused !== null) $$("button", holder).find((button) => button.dataset.value === focused)?.focus();
}

function filter() {
  for (const card of cards) card.classList.toggle("hidden-card", !fits(card, filters));
  chips($("#tasks"), "task", { category: "" });
  chips($("#categories"), "category", {});
  const count = shown().length;
  $("#count").textContent = count === cards.length ? `${count} samples` : `${count} of ${cards.length} samples`;
  $("#empty").hidden = count > 0;
  if (current && isHidden(current)) select(null);
  if (playing && isHidden(playing.card)) stop();
  layout();
  remember();
}

function remember() {
  const state = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) if (value) state.set(name, value);
  if (current) state.set("card", current.dataset.id);
  history.replaceState(null, "", `#${state}`);
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  const wanted = cards.find((card) => card.dataset.id === state.get("card"));
  // A link that names only a card, as those on the cards do, keeps the filters that show it.
  if (!wanted || state.size > 1 || !fits(wanted, filters)) {
    for (const name of Object.keys(filters)) filters[name] = state.get(name) ?? "";
    $("#search").value = filters.q;
  }
  current?.classList.remove("current");
  current = null;
  filter();
  if (wanted && !isHidden(wanted)) select(wanted, { go: true });
}

// ---- The current card

function select(card, { go = false } = {}) {
  if (current !== card) {
    current?.classList.remove("current");
    card?.classList.add("current");
    current = card;
    remember();
  }
  if (go && card) {
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  }
}

function step(by) {
  const list = shown();
  const at = list.indexOf(current);
  const next = at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, at + by));
  if (list.length) select(list[next], { go: true });
}

function caption({ dataset }, piece) {
  const [start, end] = [dataset.start, dataset.end].map(seconds);
  return `${piece ? `piece ${piece} · ` : ""}slot ${dataset.index} · ${start}–${end} s`;
}

// ---- Switches

function reveal(card, on = !card.classList.contains("revealed")) {
  card.classList.toggle("revealed", on);
  press($(".reveal", card), on);
  press($("#reveal-all"), cards.every((other) => !$(".reveal", other) || other.classList.contains("revealed")));
}

function revealAll() {
  const on = $("#reveal-all").getAttribute("aria-pressed") !== "true";
  for (const card of cards) if ($(".reveal", card)) reveal(card, on);
  press($("#reveal-all"), on);
}

// The altered stretch before it was altered, or as it is. Both are shown at the first altered slot, if none is.
function undo(card, on = !card.classList.contains("undone")) {
  if (!$(".before", card)) return;
  card.classList.toggle("undone", on);
  press($(".before", card), on);
  press($(".after", card), !on);
  if (playing?.card !== card && !slotOf(card).classList.contains("marked")) show($(".slot.marked", card));
}

function putInOrder(card) {
  if (!$(".order", card)) return;
  const key = card.classList.toggle("ordered") ? "original" : "shown";
  const pieces = $$(".piece", card).sort((a, b) => a.dataset[key] - b.dataset[key]);
  $(".pieces", card).append(...pieces);
  press($(".order", card), key === "original");
  if (playing?.card === card) {
    stop();
    play(card);
  }
}

function resize(by) {
  size = sizes[Math.min(sizes.length - 1, Math.max(0, sizes.indexOf(size) + by))];
  document.documentElement.style.setProperty("--piece", `${130 * size}px`);
  layout();
}

async function copy(button) {
  const code = $("code", button.parentElement);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

// ---- Wiring

const keys = {
  j: () => step(1),
  ArrowDown: () => step(1),
  k: () => step(-1),
  ArrowUp: () => step(-1),
  ArrowLeft: () => current && stepSlot(current, (at) => at - 1),
  ArrowRight: () => current && stepSlot(current, (at) => at + 1),
  p: () => current && play(current),
  o: () => current && $(".reveal", current) && reveal(current),
  O: revealAll,
  b: () => current && undo(current),
  t: () => current && putInOrder(current),
  s: nextSpeed,
  "+": () => resize(1),
  "-": () => resize(-1),
  "/": () => $("#search").focus(),
  "?": () => $("#keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("#keys").open) return;
  if (event.target.matches("input")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key.startsWith("Arrow") && event.target.closest(".bar, .prompt, .command")) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", ({ target }) => {
  const card = target.closest(".card");
  if (!card) return;
  if (!target.closest("a")) select(card);
  if (target.closest(".slot")) show(target.closest(".slot"));
  else if (target.matches(".play")) play(card);
  else if (target.matches(".reveal")) reveal(card);
  else if (target.matches(".before, .after")) undo(card, target.matches(".before"));
  else if (target.matches(".order")) putInOrder(card);
  else if (target.matches(".copy")) copy(target);
});

whenNear(cards, (card) => {
  unpack(card);
  show(slotOf(card));
});
for (const card of cards) {
  card.addEventListener("focusin", () => select(card));
  const look = ({ target }) => {
    const slot = target.closest(".slot");
    if (slot && playing?.card !== card) show(slot);
  };
  card.addEventListener("mouseover", look);
  card.addEventListener("focusin", look);
}

$("#search").addEventListener("input", ({ target }) => {
  filters.q = target.value;
  filter();
});
const presses = {
  "#clear": () => {
    Object.assign(filters, { task: "", category: "", q: "" });
    $("#search").value = "";
    filter();
    $("#search").focus();
  },
  "#smaller": () => resize(-1),
  "#larger": () => resize(1),
  "#speed": nextSpeed,
  "#reveal-all": revealAll,
  "#help": () => $("#keys").showModal(),
  "#close-keys": () => $("#keys").close(),
};
for (const [button, act] of Object.entries(presses)) $(button).addEventListener("click", act);
addEventListener("hashchange", recall);
addEventListener("resize", () => layout());
addEventListener("beforeprint", () => layout(PAPER));
addEventListener("afterprint", () => layout());

recall();
