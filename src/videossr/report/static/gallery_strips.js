// The strips of the gallery page: rows of slots as wide as they last, each with an axis. gallery.js follows in the page.

let laidOut = "";

function layout(width = shown().map((card) => $(".timeline .rows", card)).find(Boolean)?.clientWidth) {
  if (!width) return;
  if (laidOut === `${width} ${size}`) return;
  laidOut = `${width} ${size}`;
  const narrowest = (width < 560 ? 54 : 72) * size;
  for (const clip of $$(".timeline")) arrange(clip, width, narrowest);
}

function arrange(clip, width, narrowest) {
  const slots = $$(".slot", clip);
  const focused = slots.includes(document.activeElement) ? document.activeElement : null;
  const aspect = Number(clip.closest(".card").style.getPropertyValue("--aspect"));
  const perRow = Math.ceil(slots.length / Math.ceil(slots.length / Math.max(1, Math.floor(width / narrowest))));
  const time = (slot) => [Number(slot.dataset.start), Number(slot.dataset.end)];
  const lasts = slots.map((slot) => time(slot)[1] - time(slot)[0]).sort((a, b) => a - b);
  const usual = lasts[lasts.length >> 1];
  const rows = [];
  for (let k = 0; k < slots.length; k += perRow) rows.push(slots.slice(k, k + perRow));
  const longest = Math.max(...rows.map((row) => time(row.at(-1))[1] - time(row[0])[0]));
  const scale = Math.min(width / longest, (96 * aspect * size) / usual);
  clip.style.setProperty("--h", `${Math.ceil((usual * scale) / aspect)}px`);
  const spans = JSON.parse(clip.dataset.spans);
  $(".rows", clip).replaceChildren(
    ...rows.map((row) => {
      const [from, to] = [time(row[0])[0], time(row.at(-1))[1]];
      const pixel = (at) => Math.round((at - from) * scale);
      for (const slot of row) slot.style.width = `${pixel(time(slot)[1]) - pixel(time(slot)[0])}px`;
      const holder = make("div", "row");
      const line = make("div", "slots");
      line.append(...row);
      holder.append(lane(spans, from, to, scale), line, axis(spans, from, to, scale));
      return holder;
    }),
  );
  focused?.focus({ preventScroll: true });
}

// One element for each span that reaches into the row from `from` to `to`, as wide as its part there.
function parts(spans, from, to, scale, tag, name) {
  const inside = spans.filter(([start, end]) => end > from && start < to);
  return inside.map(([start, end]) => {
    const part = make(tag, name);
    part.style.left = `${(Math.max(start, from) - from) * scale}px`;
    part.style.width = `${(Math.min(end, to) - Math.max(start, from)) * scale}px`;
    return [part, start, end];
  });
}

function lane(spans, from, to, scale) {
  const brackets = parts(spans, from, to, scale, "div", "bracket");
  const holder = make("div", brackets.length ? "lane" : "");
  for (const [bracket, start, end] of brackets) {
    bracket.classList.toggle("opens", start >= from);
    bracket.classList.toggle("closes", end <= to);
    if (start >= from) bracket.append(make("span", "from", `${seconds(start)} s`));
    if (end <= to) bracket.append(make("span", "to", `${seconds(end)} s`));
    holder.append(bracket);
  }
  return holder;
}

function axis(spans, from, to, scale) {
  const holder = make("div", "axis");
  const line = make("div", "line");
  line.style.width = `${(to - from) * scale}px`;
  line.append(...parts(spans, from, to, scale, "i", "").map(([part]) => part));
  holder.append(line);
  const every = [100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000].find((ms) => ms * scale >= 56) ?? 300000;
  for (let at = Math.ceil(from / every) * every; at < to; at += every) {
    if ((to - at) * scale < 34) break;
    const tick = make("span", "tick", `${at / 1000} s`);
    tick.style.left = `${(at - from) * scale}px`;
    holder.append(tick);
  }
  return holder;
}
