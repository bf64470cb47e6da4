// Behavior of the quiz page: one question at a time, its answer, what is remembered, and the file that is saved.
// In the page it follows player.js and gallery_strips.js.

const cards = $$(".card");
const sheet = JSON.parse($("#quiz").dataset.sheet);
const size = 1;
let current = null;
let place = ""; // the name under which this browser remembers the answers

const shown = () => (current ? [current] : []);
const tenths = (milliseconds) => (Math.floor((Number(milliseconds) + 50) / 100) / 10).toFixed(1);
const fields = (card) => $$(".field input", card);
const written = (card) => fields(card).map((input) => input.value.trim());

function caption({ dataset }, piece) {
  return `${piece ? `clip ${piece} · ` : ""}${tenths(dataset.start)}–${tenths(dataset.end)} s`;
}

// ---- Answers

// The answer in the asked form, or what it lacks.
function read(card) {
  const values = written(card);
  if (values.every((value) => !value)) return { answer: "", lacks: "" };
  const parts = Number(card.dataset.parts);
  if (card.dataset.form === "span") {
    const [start, end] = values.map((value) => value.replace(",", "."));
    const wrong = [start, end].find((value) => value && !/^(\d+\.?\d*|\.\d+)$/.test(value));
    if (wrong) return { answer: "", lacks: `“${wrong}” is not a number of seconds such as 3.5.` };
    if (!start || !end) return { answer: "", lacks: `The ${start ? "end" : "start"} is missing.` };
    if (Number(start) >= Number(end)) return { answer: "", lacks: "The end must come after the start." };
    return { answer: `${start}-${end}`, lacks: "" };
  }
  if (card.dataset.form === "counts") {
    if (!values.every((value) => /^\d+$/.test(value))) return { answer: "", lacks: `Write ${parts} whole numbers; 0 is one.` };
    return { answer: values.join(","), lacks: "" };
  }
  if (card.dataset.form === "order") {
    const digits = [...values[0]];
    const wrong = digits.find((digit, k) => !(digit >= "1" && digit <= String(parts)) || digits.indexOf(digit) !== k);
    if (wrong) return { answer: "", lacks: `Each of the ${parts} clips stands there once: “${wrong}” does not fit.` };
    if (digits.length < parts) return { answer: "", lacks: `${parts - digits.length} of ${parts} clips are missing.` };
  }
  return { answer: values[0], lacks: "" };
}

function mark(card) {
  const { answer, lacks } = read(card);
  card.classList.toggle("answered", Boolean(answer));
  card.classList.toggle("begun", Boolean(lacks));
  $(".state", card).textContent = answer ? `Answer: ${answer}` : lacks && `Not complete. ${lacks}`;
  const [start, end] = answer && card.dataset.form === "span" ? answer.split("-").map((value) => 1000 * value) : [0, 0];
  if (card.dataset.form === "span") {
    for (const slot of $$(".slot", card)) {
      const [from, to] = [slot.dataset.start, slot.dataset.end].map((value) => 1000 * tenths(value));
      slot.classList.toggle("picked", from < end && to > start);
    }
  }
  if (card.dataset.form === "order") {
    const order = [...written(card)[0]];
    for (const piece of $$(".piece", card)) {
      const at = order.indexOf(piece.dataset.shown);
      piece.classList.toggle("picked", at >= 0);
      $(".take", piece).textContent = at >= 0 ? `no. ${at + 1}` : "next";
    }
  }
}

function count() {
  const answered = cards.filter((card) => card.classList.contains("answered")).length;
  $("#progress").value = answered;
  $("#count").textContent = `${answered} of ${cards.length} answered`;
  cards.forEach((card, k) => {
    const number = $("#numbers").children[k];
    for (const name of ["answered", "begun"]) number.classList.toggle(name, card.classList.contains(name));
    const state = card.classList.contains("answered") ? "answered" : card.classList.contains("begun") ? "not complete" : "open";
    number.ariaLabel = `Question ${k + 1}, ${state}`;
  });
}

function changed(card) {
  mark(card);
  count();
  remember();
}

function write(card, ...values) {
  fields(card).forEach((input, k) => (input.value = values[k] ?? input.value));
  changed(card);
}

function setEdge(card, edge) {
  if (card.dataset.form !== "span") return;
  const value = tenths(slotOf(card).dataset[edge]);
  write(card, ...(edge === "start" ? [value] : [undefined, value]));
}

function take(card, clip) {
  const order = written(card)[0];
  write(card, order.includes(clip) ? order.replace(clip, "") : order + clip);
}

function undoLast(card) {
  if (card.dataset.form === "order") write(card, written(card)[0].slice(0, -1));
}

// ---- What is remembered, and what is saved

function notice(text) {
  $("#notice").textContent = text;
  $("#notice").hidden = !text;
}

function remember() {
  const values = Object.fromEntries(cards.map((card) => [card.dataset.id, written(card)]));
  try {
    localStorage.setItem(place, JSON.stringify({ at: current?.dataset.id, values }));
  } catch (error) {
    notice(`This browser remembers nothing when the page is closed (${error.name}): save the answers before.`);
  }
}

function recall() {
  let [told, trouble] = [{}, ""];
  try {
    told = JSON.parse(localStorage.getItem(place) ?? "{}");
  } catch (error) {
    trouble = `What this browser remembers of earlier answers cannot be read (${error.name}).`;
  }
  for (const card of cards) {
    const values = told.values?.[card.dataset.id] ?? [];
    fields(card).forEach((input, k) => (input.value = values[k] ?? ""));
    mark(card);
  }
  go(cards.find((card) => card.dataset.id === told.at) ?? cards[0]);
  if (trouble) notice(trouble);
}

// A hash of the chosen samples (FNV-1a, 32 bits): another page has another choice.
function digest(text) {
  let hash = 0x811c9dc5;
  for (const letter of text) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

function save() {
  const answers = Object.fromEntries(cards.map((card) => [card.dataset.id, read(card).answer]));
  if (!Object.values(answers).some(Boolean)) return notice("There is no complete answer to save yet.");
  const address = URL.createObjectURL(new Blob([JSON.stringify({ ...sheet, answers }, null, 1)], { type: "application/json" }));
  const link = make("a", "");
  link.href = address;
  link.download = `answers-${sheet.hash.slice(0, 8)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  const open = cards.flatMap((card, k) => (answers[card.dataset.id] ? [] : [k + 1]));
  const rest = open.length ? ` Not answered: ${open.slice(0, 12).join(", ")}${open.length > 12 ? ", …" : ""}.` : "";
  notice(`${cards.length - open.length} answers saved as ${link.download}.${rest}`);
}

function anew() {
  if (!confirm("Erase all answers on this page?")) return;
  for (const card of cards) {
    fields(card).forEach((input) => (input.value = ""));
    mark(card);
  }
  go(cards[0]);
}

// ---- The current question

function go(card) {
  stop();
  notice("");
  if (current) current.hidden = true;
  current = card;
  card.hidden = false;
  if ($(".sprite", card)) unpack(card);
  layout();
  showing(slotOf(card));
  const at = cards.indexOf(card);
  [...$("#numbers").children].forEach((number, k) => (k === at ? (number.ariaCurrent = "true") : number.removeAttribute("aria-current")));
  $(".earlier", card).disabled = at === 0;
  $(".later", card).disabled = at === cards.length - 1;
  count();
  remember();
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start" });
}

function turn(by) {
  const next = cards[cards.indexOf(current) + by];
  if (next) go(next);
}

// Show a slot and move the slider to it. The player moves it too, which the observer below sees.
function showing(slot) {
  show(slot);
  $(".seek", current).value = $$(".slot", current).indexOf(slot);
}

function stepFrame(by) {
  const slots = $$(".slot", current);
  showing(slots[Math.min(slots.length - 1, Math.max(0, slots.indexOf(slotOf(current)) + by))]);
}

// All clips one after the other, those of a puzzle in the order of the answer as far as there is one.
function inOrder(card) {
  const order = card.dataset.form === "order" ? written(card)[0] : "";
  const rank = (piece) => (order.includes(piece.dataset.shown) ? order.indexOf(piece.dataset.shown) : Infinity);
  const clips = $$(".clip", card);
  return [...clips].sort((a, b) => rank(a) - rank(b) || clips.indexOf(a) - clips.indexOf(b)).flatMap((clip) => $$(".slot", clip));
}

function loopClip(clip) {
  stop();
  play(current, $$(".slot", clip));
}

// ---- Wiring

cards.forEach((card, k) => {
  const number = make("button", "", String(k + 1));
  number.type = "button";
  number.addEventListener("click", () => go(card));
  $("#numbers").append(number);
  const slots = $$(".slot", card);
  const follow = new MutationObserver(() => ($(".seek", card).value = slots.indexOf(slotOf(card))));
  follow.observe($(".caption", card), { childList: true });
  $(".reply", card).addEventListener("submit", (event) => event.preventDefault());
});

const keys = {
  j: () => turn(1),
  k: () => turn(-1),
  ArrowLeft: () => stepFrame(-1),
  ArrowRight: () => stepFrame(1),
  p: () => play(current, inOrder(current)),
  f: nextSpeed,
  s: () => setEdge(current, "start"),
  e: () => setEdge(current, "end"),
  a: () => fields(current)[0].focus(),
  Backspace: () => undoLast(current),
  "?": () => $("#keys").showModal(),
};

// Enter goes to the next field, and from the last one to the next question.
function enter(input) {
  const all = fields(current);
  const next = all[all.indexOf(input) + 1];
  if (next) next.focus();
  else turn(1);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("#keys").open) return;
  if (event.target.matches(".field input")) {
    if (event.key === "Escape") event.target.blur();
    if (event.key === "Enter") enter(event.target);
    return;
  }
  if (event.target.matches(".seek") && event.key.startsWith("Arrow")) return;
  const clip = current.dataset.form === "order" && event.key >= "1" && event.key <= current.dataset.parts;
  const act = event.key === "Enter" && event.target.matches(".card") ? () => turn(1) : keys[event.key];
  if (!clip && !act) return;
  event.preventDefault();
  if (clip) take(current, event.key);
  else act();
});

document.addEventListener("input", ({ target }) => {
  if (target.matches(".field input")) changed(current);
  if (target.matches(".seek")) {
    stop();
    show($$(".slot", current)[target.value]);
  }
});

document.addEventListener("click", ({ target }) => {
  if (!target.closest(".card")) return;
  if (target.closest(".slot")) {
    stop();
    showing(target.closest(".slot"));
  } else if (target.matches(".play")) play(current, inOrder(current));
  else if (target.matches(".back")) stepFrame(-1);
  else if (target.matches(".on-by-one")) stepFrame(1);
  else if (target.matches(".set")) setEdge(current, target.dataset.edge);
  else if (target.matches(".take")) take(current, target.closest(".piece").dataset.shown);
  else if (target.matches(".loop")) loopClip(target.closest(".piece"));
  else if (target.matches(".undo")) undoLast(current);
  else if (target.matches(".erase")) write(current, ...fields(current).map(() => ""));
  else if (target.matches(".earlier")) turn(-1);
  else if (target.matches(".later")) turn(1);
});

const presses = {
  "#speed": nextSpeed,
  "#save": save,
  "#help": () => $("#keys").showModal(),
  "#close-keys": () => $("#keys").close(),
  "#anew": anew,
};
for (const [button, act] of Object.entries(presses)) $(button).addEventListener("click", act);
addEventListener("resize", () => layout());

place = `videossr quiz ${sheet.hash} ${digest(cards.map((card) => card.dataset.id).join(" "))}`;
recall();
