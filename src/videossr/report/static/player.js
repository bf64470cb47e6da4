// The stage of a card, on which one slot is shown large, and its player. The script of the page follows, and has
// `caption(slot, piece)`: the text below the stage.

const speeds = [1, 2, 4, 8];
let playing = null;
let speed = 1;

function make(tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

function press(button, on) {
  button?.setAttribute("aria-pressed", String(on));
}

const slotOf = (card) => $(".slot.on", card) ?? $(".slot.marked", card) ?? $(".slot", card);
const seconds = (milliseconds) => (milliseconds / 1000).toFixed(2);

function show(slot) {
  const card = slot.closest(".card");
  const clip = slot.closest(".clip");
  const stage = $(".stage > .frame", card);
  for (const other of $$(".slot.on, .slot[tabindex='0']", card)) {
    other.classList.remove("on");
    other.tabIndex = -1;
  }
  slot.classList.add("on");
  slot.tabIndex = 0;
  const frame = $(".frame", slot);
  for (const name of ["--c", "--r", "--sprite"]) stage.style.setProperty(name, clip.style.getPropertyValue(name));
  for (const name of ["--x", "--y", "--bx", "--by"]) stage.style.setProperty(name, frame.style.getPropertyValue(name));
  stage.replaceChildren(...$$("svg", frame).map((svg) => svg.cloneNode(true)));
  stage.classList.toggle("marked", slot.classList.contains("marked"));
  for (const element of [stage, $(".caption", card)]) element.classList.toggle("due", frame.classList.contains("due"));
  $(".caption", card).textContent = caption(slot, clip.dataset.shown);
}

function stepSlot(card, move) {
  const slots = $$(".slot", card);
  const slot = slots[Math.min(slots.length - 1, Math.max(0, move(slots.indexOf(slotOf(card)), slots.length)))];
  show(slot);
  slot.focus({ preventScroll: true });
}

// ---- Playing: each slot for as long as its clock says

function stop() {
  if (!playing) return;
  clearTimeout(playing.timer);
  press($(".play", playing.card), false);
  $(".play", playing.card).textContent = "Play";
  playing = null;
}

// Play `slots` of the card in a circle, from the one that is shown; stop where the card is playing.
function play(card, slots = $$(".slot", card)) {
  const again = playing?.card === card;
  stop();
  if (again) return;
  let at = Math.max(0, slots.indexOf($(".slot.on", card)));
  let due = performance.now();
  playing = { card, timer: 0 };
  press($(".play", card), true);
  $(".play", card).textContent = "Stop";
  const tick = () => {
    const slot = slots[at];
    show(slot);
    at = (at + 1) % slots.length;
    due = Math.max(due + (slot.dataset.end - slot.dataset.start) / speed, performance.now());
    playing.timer = setTimeout(tick, due - performance.now());
  };
  tick();
}

function nextSpeed() {
  speed = speeds[(speeds.indexOf(speed) + 1) % speeds.length];
  $("#speed").textContent = `${speed}× speed`;
}
