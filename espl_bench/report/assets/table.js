// A table whose columns sort: the heading is a button, and says which way it is sorted.

import { el, say, sideways } from "./dom.js";
import { known } from "./format.js";

// Columns { key, title, hint, value: row => sortable, cell: row => node or text, text: left-aligned }.
// `sorting` is kept by the caller: { key, down }.
export function sortable({ label, columns, rows, sorting, onSort, rowKey }) {
  const column = columns.find((each) => each.key === sorting.key) ?? columns[0];
  const ordered = [...rows].sort((a, b) => compare(column.value(a), column.value(b), sorting.down));
  const head = columns.map((each) => {
    const chosen = each.key === sorting.key;
    const sort = () => {
      onSort({ key: each.key, down: chosen ? !sorting.down : !each.text });
      say(`${label}, sorted by ${each.title}`);
    };
    const button = el("button", { type: "button", id: `${rowKey}-sort-${each.key}`, title: each.hint, on: { click: sort } }, each.title, el("span", { class: "arrow", "aria-hidden": "true" }, chosen ? (sorting.down ? "↓" : "↑") : ""));
    return el("th", { scope: "col", class: each.text ? "text" : null, "aria-sort": chosen ? (sorting.down ? "descending" : "ascending") : "none" }, button);
  });
  const body = ordered.map((row) => el("tr", {}, columns.map((each, place) => (place ? el("td", { class: each.text ? "text" : null }, each.cell(row)) : el("th", { scope: "row", class: "text" }, el("span", { class: "name" }, each.cell(row)))))));
  return sideways(label, el("table", { class: "board", "aria-label": label }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

// Missing values stand last, whichever way the rest is sorted.
function compare(a, b, down) {
  if (!known(a) || !known(b)) return Number(known(b)) - Number(known(a));
  const ascending = typeof a === "string" ? a.localeCompare(b) : a - b;
  return down ? -ascending : ascending;
}
