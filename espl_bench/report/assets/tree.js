// The evolution tree: time to the right, one lane per line of descent, coloured by rating. A node is chosen with the pointer or with arrow keys.
// Of very many prompts one piece is drawn, and the others are gone to.

import { el, link, notice, responsive, say, svg } from "./dom.js";
import { decimals, plural, whole } from "./format.js";
import { scale } from "./colour.js";
import { descent, promptPanel } from "./prompt.js";
import { nextWith, pieceOf, promptOf, promptsIn } from "./prompts.js";
import { go, hash, note, route } from "./router.js";

const LANE = 34;
const PAD = 22;
const RADIUS = 7;
const scrolled = new Map();
let focusNext = null;  // a node of another piece that the keys have gone to

export async function tree(run, detail) {
  if (!detail.prompts.total) return notice("No prompt has been born yet.");
  const asked = await promptOf(run, detail, Number(route().query.get("prompt") ?? detail.shown));
  const first = asked ?? (await promptOf(run, detail, detail.shown));
  const number = pieceOf(detail.prompts, first.id);
  const state = { id: first.id };
  const view = { run, detail, number, prompts: await promptsIn(run, number), nodes: new Map(), state };
  const panel = el("div", { class: "side" });
  const show = async (prompt) => {
    const drawn = await promptPanel(run, detail, prompt);
    if (state.id === prompt.id) panel.replaceChildren(drawn);
  };
  view.choose = (id, focus) => {
    const prompt = view.prompts.find((each) => each.id === id);
    if (!prompt) {
      focusNext = focus ? id : null;
      go(["run", run.id, "tree"], { prompt: id });
      return;
    }
    mark(view, id, focus);
    note(["run", run.id, "tree"], { prompt: id });
    show(prompt);
  };
  await show(first);
  const place = responsive((width) => [drawn(view, width)], { class: "treeplace" });
  return el("div", { class: "split" }, el("div", { class: "wide" }, key(detail), finder(view), pager(view), place, rejections(detail)), panel);
}

function mark({ nodes, state }, id, focus) {
  nodes.get(state.id)?.setAttribute("tabindex", "-1");
  nodes.get(state.id)?.setAttribute("aria-selected", "false");
  state.id = id;
  const node = nodes.get(id);
  node?.setAttribute("tabindex", "0");
  node?.setAttribute("aria-selected", "true");
  if (focus) node?.focus({ preventScroll: false });
}

function drawn(view, width) {
  const { run, prompts, nodes, state } = view;
  const [begin, last] = [view.number ? prompts[0].born_step : 0, Math.max(1, ...prompts.map((prompt) => prompt.born_step))];
  const lanes = [...new Set(prompts.map((prompt) => prompt.lane))].sort((a, b) => a - b);  // those of this piece, without gaps
  const lane = new Map(lanes.map((each, place) => [each, place]));
  const step = Math.max((width - 2 * PAD) / Math.max(1, last - begin), Math.min(11, 2400 / Math.max(1, last - begin)));
  const [x, y] = [(prompt) => PAD + (prompt.born_step - begin) * step, (prompt) => PAD + lane.get(prompt.lane) * LANE];
  const by = new Map(prompts.map((prompt) => [prompt.id, prompt]));
  const edges = prompts.flatMap((prompt) => prompt.parents.map((id, place) => edge(by.get(id), prompt, place, x, y)));
  nodes.clear();
  for (const prompt of prompts) nodes.set(prompt.id, nodeOf(view, prompt, x(prompt), y(prompt)));
  const height = 2 * PAD + (lanes.length - 1) * LANE + 24;
  const axis = svg("g", { "aria-hidden": "true" }, stepsShown(begin, last, step).map((each) => svg("text", { class: "tick", x: PAD + (each - begin) * step, y: height - 6, "text-anchor": "middle" }, each)));
  const picture = svg("svg", { width: 2 * PAD + (last - begin) * step, height, role: "listbox", "aria-label": `Evolution tree of ${plural(prompts.length, "prompt")}. Arrow keys go along the lines of descent.`, on: { keydown: (event) => walk(event, view, by) } }, axis, edges, [...nodes.values()]);
  const scroller = el("div", { class: "scroll tree", on: { scroll: () => scrolled.set(`${run.id} ${view.number}`, scroller.scrollLeft) } }, picture);
  requestAnimationFrame(() => {
    scroller.scrollLeft = scrolled.get(`${run.id} ${view.number}`) ?? 0;
    if (focusNext === state.id) nodes.get(focusNext)?.focus();
    focusNext = null;
  });
  return scroller;
}

function nodeOf({ detail, state, choose }, prompt, x, y) {
  const [low, high] = detail.prompts.ratings;
  const shown = prompt.id === detail.shown;
  const label = `Prompt ${prompt.id}, ${descent(prompt)}, step ${prompt.born_step}, rating ${decimals(prompt.rating.mu, 1)} ± ${decimals(prompt.rating.sigma, 1)}, ${plural(prompt.principles.length, "principle")}${prompt.lives ? "" : ", extinct"}${shown ? ", shown" : ""}`;
  const chosen = prompt.id === state.id;
  return svg("g", { class: `node${prompt.lives ? "" : " extinct"}${shown ? " shown" : ""}`, id: `node-${prompt.id}`, role: "option", tabindex: chosen ? "0" : "-1", "aria-selected": String(chosen), "aria-label": label, transform: `translate(${x} ${y})`, on: { click: () => choose(prompt.id, true) } },
    svg("title", {}, label),
    svg("circle", { class: "ring", r: RADIUS + 4.5 }),
    svg("circle", { class: "face", r: RADIUS, fill: scale(high > low ? (prompt.rating.mu - low) / (high - low) : 0.5) }));
}

// A parent that is in an earlier piece is hinted at by a short stroke to the left.
function edge(parent, child, place, x, y) {
  const kind = place ? "edge other" : child.origin === "crossover" ? "edge crossover" : "edge";
  const [x1, y1] = [x(child), y(child)];
  if (!parent) return svg("path", { class: `${kind} outside`, d: `M${x1 - 14} ${y1 + 6 * place}L${x1} ${y1}` });
  const [x0, y0] = [x(parent), y(parent)];
  const middle = (x0 + x1) / 2;
  const bow = y0 === y1 && place ? LANE * 0.55 : 0;  // along a lane it would be lost under the line of descent
  return svg("path", { class: kind, d: `M${x0} ${y0}C${middle} ${y0 + bow} ${middle} ${y1 + bow} ${x1} ${y1}` });
}

function stepsShown(first, last, step) {
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((each) => each * step >= 44) ?? 2000;
  const start = Math.ceil(first / every);
  return Array.from({ length: Math.floor(last / every) - start + 1 }, (_, place) => (start + place) * every);
}

// Left to the parent, right to the first child, up and down to the neighbours by lane among those of about the same time.
function walk(event, { detail, state, choose }, by) {
  const here = by.get(state.id);
  const all = [...by.values()];
  const children = all.filter((prompt) => prompt.parents.includes(here.id));
  const beside = (sign) => all.filter((prompt) => Math.sign(prompt.lane - here.lane) === sign).sort((a, b) => Math.abs(a.lane - here.lane) - Math.abs(b.lane - here.lane) || Math.abs(a.born_step - here.born_step) - Math.abs(b.born_step - here.born_step))[0]?.id;
  const next = {
    ArrowLeft: () => here.parents[0],
    ArrowRight: () => (children.find((prompt) => prompt.lane === here.lane) ?? children[0])?.id,
    ArrowUp: () => beside(-1),
    ArrowDown: () => beside(1),
    Home: () => detail.prompts.firsts[0],
    End: () => detail.prompts.last,
  }[event.key]?.();
  if (next === undefined) return;
  event.preventDefault();
  choose(next, true);
}

function key(detail) {
  const [low, high] = detail.prompts.ratings;
  const swatches = [0, 0.25, 0.5, 0.75, 1].map((share) => svg("circle", { cx: 8 + share * 64, cy: 8, r: 6, fill: scale(share), class: "face" }));
  const strokes = (kind) => svg("svg", { width: 30, height: 12, "aria-hidden": "true" }, svg("path", { class: `edge ${kind}`, d: "M1 6L29 6" }));
  return el("p", { class: "key" },
    el("span", {}, decimals(low, 1), " ", svg("svg", { width: 80, height: 16, "aria-hidden": "true" }, swatches), " ", decimals(high, 1), " rating μ"),
    el("span", {}, strokes(""), " mutation"), el("span", {}, strokes("crossover"), " crossover, best parent"), el("span", {}, strokes("other"), " crossover, others"),
    el("span", { class: "soft" }, "faint: extinct · double ring: shown in evaluations"));
}

// Which prompts of how many are drawn, and the way to the others.
function pager({ run, detail, number, prompts, choose }) {
  const { firsts, last, total } = detail.prompts;
  if (firsts.length < 2) return null;
  const to = (id, text, off) => (off ? el("span", { class: "soft" }, text) : link(hash(["run", run.id, "tree"], { prompt: id }), {}, text));
  const input = el("input", { type: "number", id: "go-to-prompt", min: 0, max: last, placeholder: "number" });
  const gone = (event) => { event.preventDefault(); if (input.value) choose(Number(input.value), false); };
  return el("nav", { class: "pager", "aria-label": "Parts of the tree" },
    to(firsts[0], "⇤ first", number === 0), to(firsts[number - 1], "← older", number === 0),
    el("span", { id: "piece" }, `prompts #${whole(prompts[0].id)} to #${whole(prompts.at(-1).id)} of ${whole(total)}, steps ${prompts[0].born_step} to ${prompts.at(-1).born_step}`),
    to(firsts[number + 1], "newer →", number + 1 === firsts.length), to(last, "last ⇥", number + 1 === firsts.length),
    el("form", { on: { submit: gone } }, el("label", { for: "go-to-prompt" }, "go to #"), input));
}

// Jump to a prompt by words that it holds.
function finder({ run, detail, choose }) {
  const input = el("input", { type: "search", id: "find-prompt", placeholder: "words of a principle" });
  let at = -1;
  const find = async () => {
    const hit = input.value ? await nextWith(run, detail, input.value, at) : null;
    at = hit ? hit.id : -1;
    if (hit) choose(hit.id, false);
    say(hit ? `prompt ${hit.id} holds these words` : "no prompt holds these words");
  };
  return el("form", { class: "finder", role: "search", on: { submit: (event) => { event.preventDefault(); find(); }, input: () => { at = -1; } } }, el("label", { for: "find-prompt" }, "Find a prompt"), input, el("button", { type: "submit" }, "next"));
}

function rejections(detail) {
  const listed = Object.entries(detail.rejected).map(([kind, number]) => `${kind.replace("_", " ")} × ${number}`);
  return listed.length ? el("p", { class: "fine" }, `Children that were not born: ${listed.join(", ")}.`) : null;
}
