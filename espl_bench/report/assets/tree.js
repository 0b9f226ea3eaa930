// The evolution tree: time to the right, one lane per line of descent, coloured by rating. A node is chosen with the pointer or with arrow keys.

import { el, responsive, say, svg } from "./dom.js";
import { decimals, plural } from "./format.js";
import { scale } from "./colour.js";
import { descent, promptPanel } from "./prompt.js";
import { note, route } from "./router.js";

const LANE = 34;
const PAD = 22;
const RADIUS = 7;
const scrolled = new Map();

export function tree(run, detail) {
  const asked = Number(route().query.get("prompt") ?? detail.shown);
  const state = { id: detail.prompts.some((prompt) => prompt.id === asked) ? asked : detail.shown };
  const panel = el("div", { class: "side" });
  const nodes = new Map();
  const choose = (id, focus) => {
    nodes.get(state.id)?.setAttribute("tabindex", "-1");
    nodes.get(state.id)?.setAttribute("aria-selected", "false");
    state.id = id;
    const node = nodes.get(id);
    node?.setAttribute("tabindex", "0");
    node?.setAttribute("aria-selected", "true");
    if (focus) node?.focus({ preventScroll: false });
    note(["run", run.id, "tree"], { prompt: id });
    panel.replaceChildren(promptPanel(run, detail, detail.prompts.find((prompt) => prompt.id === id)));
  };
  const place = responsive((width) => [drawn(run, detail, width, nodes, state, choose)], { class: "treeplace" });
  panel.replaceChildren(promptPanel(run, detail, detail.prompts.find((prompt) => prompt.id === state.id)));
  return el("div", { class: "split" }, el("div", { class: "wide" }, key(detail), finder(detail, choose), place, rejections(detail)), panel);
}

function drawn(run, detail, width, nodes, state, choose) {
  const { prompts } = detail;
  const last = Math.max(1, ...prompts.map((prompt) => prompt.born_step));
  const lanes = 1 + Math.max(0, ...prompts.map((prompt) => prompt.lane));
  const step = Math.max((width - 2 * PAD) / last, Math.min(11, 2400 / last));
  const [x, y] = [(prompt) => PAD + prompt.born_step * step, (prompt) => PAD + prompt.lane * LANE];
  const by = new Map(prompts.map((prompt) => [prompt.id, prompt]));
  const range = prompts.map((prompt) => prompt.rating.mu);
  const [low, high] = [Math.min(...range), Math.max(...range)];
  const edges = prompts.flatMap((prompt) => prompt.parents.map((id, place) => edge(by.get(id), prompt, place, x, y)));
  nodes.clear();
  const marks = prompts.map((prompt) => {
    const label = `Prompt ${prompt.id}, ${descent(prompt)}, step ${prompt.born_step}, rating ${decimals(prompt.rating.mu, 1)} ± ${decimals(prompt.rating.sigma, 1)}, ${plural(prompt.principles.length, "principle")}${prompt.lives ? "" : ", extinct"}${prompt.id === detail.shown ? ", shown" : ""}`;
    const chosen = prompt.id === state.id;
    const node = svg("g", { class: `node${prompt.lives ? "" : " extinct"}${prompt.id === detail.shown ? " shown" : ""}`, id: `node-${prompt.id}`, role: "option", tabindex: chosen ? "0" : "-1", "aria-selected": String(chosen), "aria-label": label, transform: `translate(${x(prompt)} ${y(prompt)})`, on: { click: () => choose(prompt.id, true) } },
      svg("title", {}, label),
      svg("circle", { class: "ring", r: RADIUS + 4.5 }),
      svg("circle", { class: "face", r: RADIUS, fill: scale(high > low ? (prompt.rating.mu - low) / (high - low) : 0.5) }));
    nodes.set(prompt.id, node);
    return node;
  });
  const height = 2 * PAD + (lanes - 1) * LANE + 24;
  const whole = 2 * PAD + last * step;
  const axis = svg("g", { "aria-hidden": "true" }, stepsShown(last, step).map((each) => svg("text", { class: "tick", x: PAD + each * step, y: height - 6, "text-anchor": "middle" }, each)));
  const picture = svg("svg", { width: whole, height, role: "listbox", "aria-label": `Evolution tree of ${plural(prompts.length, "prompt")}. Arrow keys go along the lines of descent.`, on: { keydown: (event) => walk(event, by, state, choose) } }, axis, edges, marks);
  const scroller = el("div", { class: "scroll tree", on: { scroll: () => scrolled.set(run.id, scroller.scrollLeft) } }, picture);
  requestAnimationFrame(() => { scroller.scrollLeft = scrolled.get(run.id) ?? 0; });
  return scroller;
}

function edge(parent, child, place, x, y) {
  if (!parent) return null;
  const [x0, y0, x1, y1] = [x(parent), y(parent), x(child), y(child)];
  const middle = (x0 + x1) / 2;
  const bow = y0 === y1 && place ? LANE * 0.55 : 0;  // along a lane it would be lost under the line of descent
  return svg("path", { class: place ? "edge other" : child.origin === "crossover" ? "edge crossover" : "edge", d: `M${x0} ${y0}C${middle} ${y0 + bow} ${middle} ${y1 + bow} ${x1} ${y1}` });
}

function stepsShown(last, step) {
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((each) => each * step >= 44) ?? 2000;
  return Array.from({ length: Math.floor(last / every) + 1 }, (_, place) => place * every);
}

// Left to the parent, right to the first child, up and down to the neighbours by lane among those of about the same time.
function walk(event, by, state, choose) {
  const here = by.get(state.id);
  const all = [...by.values()];
  const children = all.filter((prompt) => prompt.parents.includes(here.id));
  const beside = (sign) => all.filter((prompt) => Math.sign(prompt.lane - here.lane) === sign).sort((a, b) => Math.abs(a.lane - here.lane) - Math.abs(b.lane - here.lane) || Math.abs(a.born_step - here.born_step) - Math.abs(b.born_step - here.born_step))[0];
  const next = {
    ArrowLeft: () => by.get(here.parents[0]),
    ArrowRight: () => children.find((prompt) => prompt.lane === here.lane) ?? children[0],
    ArrowUp: () => beside(-1),
    ArrowDown: () => beside(1),
    Home: () => all[0],
    End: () => all.at(-1),
  }[event.key]?.();
  if (!next) return;
  event.preventDefault();
  choose(next.id, true);
}

function key(detail) {
  const range = detail.prompts.map((prompt) => prompt.rating.mu);
  const swatches = [0, 0.25, 0.5, 0.75, 1].map((share) => svg("circle", { cx: 8 + share * 64, cy: 8, r: 6, fill: scale(share), class: "face" }));
  const strokes = (kind) => svg("svg", { width: 30, height: 12, "aria-hidden": "true" }, svg("path", { class: `edge ${kind}`, d: "M1 6L29 6" }));
  return el("p", { class: "key" },
    el("span", {}, decimals(Math.min(...range), 1), " ", svg("svg", { width: 80, height: 16, "aria-hidden": "true" }, swatches), " ", decimals(Math.max(...range), 1), " rating μ"),
    el("span", {}, strokes(""), " mutation"), el("span", {}, strokes("crossover"), " crossover, best parent"), el("span", {}, strokes("other"), " crossover, others"),
    el("span", { class: "soft" }, "faint: extinct · double ring: shown in evaluations"));
}

// Jump to a prompt by words that it holds.
function finder(detail, choose) {
  const hits = () => detail.prompts.filter((prompt) => prompt.principles.some((text) => text.toLowerCase().includes(input.value.toLowerCase())));
  const input = el("input", { type: "search", id: "find-prompt", placeholder: "words of a principle" });
  let at = -1;
  const find = () => {
    const found = input.value ? hits() : [];
    at = found.length ? (at + 1) % found.length : -1;
    if (at >= 0) choose(found[at].id, false);
    say(found.length ? `${at + 1} of ${plural(found.length, "prompt")}` : "no prompt holds these words");
  };
  return el("form", { class: "finder", role: "search", on: { submit: (event) => { event.preventDefault(); find(); }, input: () => { at = -1; } } }, el("label", { for: "find-prompt" }, "Find a prompt"), input, el("button", { type: "submit" }, "next"));
}

function rejections(detail) {
  const listed = Object.entries(detail.rejected).map(([kind, number]) => `${kind.replace("_", " ")} × ${number}`);
  return listed.length ? el("p", { class: "fine" }, `Children that were not born: ${listed.join(", ")}.`) : null;
}
