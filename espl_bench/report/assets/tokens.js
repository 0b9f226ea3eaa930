// A text token by token, on a ground that says how likely each token was, or how much its rollout was worth.

import { el } from "./dom.js";
import { decimals, known } from "./format.js";

export const COLOURINGS = [
  { value: "none", text: "plain" },
  { value: "surprisal", text: "log-probability" },
  { value: "advantage", text: "advantage" },
];
const FULL = 400;
const SURPRISAL_STEPS = [[0, "1"], [1, "0.37"], [2, "0.14"], [3, "0.05"], [4, "0.02"]];  // nats, probability
const ADVANTAGE_STEPS = [-1, -0.5, 0, 0.5, 1];
const MOST = 20000;

// How strong the ground is, 0 to 1: surprisal in hundredths of a nat, full from 4 nats on.
function strength(surprisal) {
  return Math.min(1, Math.max(0, surprisal) / FULL);
}

// The nodes that show text[start:end]. Lengths count Unicode characters, as Python does; a JavaScript string counts UTF-16 units.
export function coloured(text, start, end, turn, colouring, advantage) {
  const shown = text.slice(start, end);
  if (colouring === "advantage") return [known(advantage) ? worth(shown, advantage) : shown];
  if (colouring !== "surprisal" || turn.lengths.length === 0 || turn.lengths.length > MOST) return [shown];
  const nodes = [];
  let at = 0;
  let characters = 0;
  const units = unitsOf(text);
  turn.lengths.forEach((length, place) => {
    const next = units(characters + length);
    characters += length;
    const [from, to] = [Math.max(at, start), Math.min(next, end)];
    if (to > from) nodes.push(token(text.slice(from, to), turn.surprisals[place]));
    at = next;
  });
  return nodes;
}

function unitsOf(text) {
  if (!/[\ud800-\udbff][\udc00-\udfff]/.test(text)) return (count) => count;
  const places = [0];
  for (const char of text) places.push(places.at(-1) + char.length);
  return (count) => places[Math.min(count, places.length - 1)];
}

// What the grounds mean, strongest to the right.
export function colourScale(colouring) {
  const steps = colouring === "surprisal" ? SURPRISAL_STEPS.map(([nats, told]) => ["step", nats * 100 / FULL, `${nats ? "−" : ""}${nats}`, told]) : ADVANTAGE_STEPS.map((value) => [value < 0 ? "step less" : "step more", Math.abs(value), value < 0 ? `−${-value}` : value ? `+${value}` : "0", null]);
  const marks = steps.map(([kind, strong, value, told]) => el("span", { class: kind, style: { "--strength": Math.min(1, strong).toFixed(3) } }, value, told ? ` ${told}` : null));
  const [name, end] = colouring === "surprisal" ? ["log p, and p", "and below"] : ["advantage", "and beyond"];
  return el("p", { class: "scale", id: "colour-scale" }, el("span", { class: "soft" }, name), marks, el("span", { class: "soft" }, end));
}

function token(text, surprisal) {
  if (!known(surprisal)) return document.createTextNode(text);
  const strong = strength(surprisal);
  const title = `log p = ${decimals(-surprisal / 100)}, p = ${decimals(Math.exp(-surprisal / 100), 3)}`;
  return el("span", { class: "token", title, style: { "--strength": strong.toFixed(3) } }, text);
}

function worth(text, advantage) {
  const title = `advantage ${decimals(advantage)}: every token of a rollout has the same`;
  return el("span", { class: advantage < 0 ? "worth less" : "worth", title, style: { "--strength": Math.min(1, Math.abs(advantage)).toFixed(3) } }, text);
}
