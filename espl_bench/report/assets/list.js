// A list of any length of which only the rows in sight exist. One tab stop: arrow keys move the choice.

import { el } from "./dom.js";

export const ROW = 34;
const SPARE = 8;

// `row(place)` gives the nodes of one line; `name(place)` what it is called; `choose(place)` is called when one is chosen.
export function virtualList({ label, length, row, name, choose, chosen, state }) {
  const inner = el("div", { class: "inner", style: { height: `${length * ROW}px` } });
  const box = el("div", { class: "list", role: "listbox", tabindex: "0", id: "rollout-list", "aria-label": label }, inner);
  let drawn = "";
  let at = chosen;
  const draw = (again) => {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    const last = Math.min(length, Math.ceil((box.scrollTop + (box.clientHeight || 600)) / ROW) + SPARE);
    state.scroll = box.scrollTop;
    if (!again && drawn === `${first}-${last}`) return;
    drawn = `${first}-${last}`;
    inner.replaceChildren(...Array.from({ length: last - first }, (_, each) => {
      const place = first + each;
      return el("div", { class: "row", role: "option", id: `option-${place}`, "aria-selected": String(place === at), "aria-label": name(place), "aria-posinset": place + 1, "aria-setsize": length, style: { top: `${place * ROW}px` }, on: { click: () => pick(place) } }, row(place));
    }));
    if (at !== null && at >= first && at < last) box.setAttribute("aria-activedescendant", `option-${at}`);
    else box.removeAttribute("aria-activedescendant");
  };
  const pick = (place) => {
    at = place;
    if (place * ROW < box.scrollTop) box.scrollTop = place * ROW;
    if ((place + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (place + 1) * ROW - box.clientHeight;
    draw(true);
    choose(place);
  };
  box.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)));
  box.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(box.clientHeight / ROW) - 1);
    const from = at ?? -1;
    const next = { ArrowDown: from + 1, ArrowUp: from - 1, PageDown: from + page, PageUp: from - page, Home: 0, End: length - 1 }[event.key];
    if (next === undefined || !length) return;
    event.preventDefault();
    pick(Math.min(length - 1, Math.max(0, next)));
  });
  requestAnimationFrame(() => {
    box.scrollTop = state.scroll ?? 0;
    draw(true);
  });
  return { node: box, redraw: () => draw(true) };
}
