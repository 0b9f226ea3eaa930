// All stored rollouts of a run: filters, a list that loads its rows as they come into sight, and the one that was chosen.

import { el, notice } from "./dom.js";
import { decimals, known, line, whole } from "./format.js";
import { OUTCOME_SIGNS, outcomeColour } from "./colour.js";
import { virtualList } from "./list.js";
import { rolloutPanel } from "./rollout.js";
import { promptOf } from "./prompts.js";
import { note, route } from "./router.js";
import { part, study } from "./store.js";

const places = new Map();
const LISTED = 500;  // prompts that are offered by name; of more, the number is typed
const [least, most] = [Math.min, Math.max].map((pick) => (values) => values.reduce((a, b) => pick(a, b)));
const NARROW = "(max-width: 60rem)";

// Columns → one object per rollout, with the piece of a file that its text is in and its place there.
function itemsOf(index) {
  const items = [];
  index.files.forEach((file) => {
    for (let within = 0; within < file.kept; within++) {
      const at = items.length;
      const start = within - (within % index.piece); // texts are loaded in pieces
      items.push({
        at, file: start ? `${file.name}+${start}` : file.name, within: within - start, step: file.step, split: file.split, prompt: index.prompt[at], problem: index.problems[index.problem[at]], sample: index.sample[at],
        outcome: index.outcomes[index.outcome[at]], reward: index.reward[at], tokens: index.tokens[at], advantage: index.advantage[at],
      });
    }
  });
  return items;
}

function wantedBy(query) {
  const outcomes = query.get("outcome")?.split(",").filter(Boolean) ?? [];
  const [from, to] = [query.get("from"), query.get("to")].map((text) => (text ? Number(text) : null));
  const [split, prompt, problem] = [query.get("split"), query.get("prompt"), query.get("problem")?.toLowerCase()];
  return (item) =>
    (!split || item.split === split) && (from === null || item.step >= from) && (to === null || item.step <= to) && (!prompt || item.prompt === Number(prompt)) &&
    (!problem || item.problem.toLowerCase().includes(problem)) && (!outcomes.length || outcomes.includes(item.outcome));
}

export async function rollouts(run, detail) {
  const index = await part(`index/${run.id}`);
  const items = itemsOf(index);
  if (!items.length) return notice("This run has stored no rollouts yet.");
  const filters = Object.fromEntries(route().query);
  const memory = places.get(run.id) ?? { scroll: 0 };
  places.set(run.id, memory);
  const found = el("div", { class: "found" });
  const side = el("div", { class: "side", id: "rollout-detail" });
  const summary = el("p", { class: "fine", role: "status", id: "found-count" });
  let shown = [];
  let list = null;
  const texts = new Map();
  const textOf = (item) => {
    const file = `rollouts/${run.id}/${item.file}`;
    if (!texts.has(file)) {
      texts.set(file, null);
      part(file).then((loaded) => { texts.set(file, loaded); list?.redraw(); }, () => texts.delete(file));
    }
    return texts.get(file)?.[item.within] ?? null;
  };
  const remember = () => note(["run", run.id, "rollouts"], filters);
  const open = async (place, quiet) => {
    const item = shown[place];
    filters.at = String(item.at);
    remember();
    const [loaded, prompt] = await Promise.all([part(`rollouts/${run.id}/${item.file}`), promptOf(run, detail, item.prompt)]);
    const draw = () => side.replaceChildren(rolloutPanel(run, prompt, item, loaded[item.within], draw));
    draw();
    if (!quiet && matchMedia(NARROW).matches) side.scrollIntoView({ block: "start" });
  };
  const filter = () => {
    shown = items.filter(wantedBy(new URLSearchParams(filters)));
    const asked = shown.findIndex((item) => item.at === Number(filters.at ?? -1));
    const at = asked < 0 && shown.length && !matchMedia(NARROW).matches ? 0 : asked;
    list = virtualList({ label: "Rollouts", length: shown.length, row: (place) => rowOf(shown[place], textOf(shown[place])), name: (place) => nameOf(shown[place]), choose: open, chosen: at < 0 ? null : at, state: memory });
    found.replaceChildren(list.node);
    summary.textContent = countsOf(index, shown, items);
    if (at >= 0) open(at, true);
    else side.replaceChildren();
  };
  const set = (name, value) => {
    if (value) filters[name] = value;
    else delete filters[name];
    delete filters.at;
    memory.scroll = 0;
    remember();
    filter();
  };
  filter();
  return el("div", { class: "split rollouts" }, el("div", { class: "wide" }, form(index, items, detail, filters, set), summary, heading(), found), side);
}

function countsOf(index, shown, items) {
  const stored = index.files.reduce((sum, file) => sum + file.stored, 0);
  const right = shown.filter((item) => item.outcome === "correct").length;
  const sampled = items.length < stored ? ` This page keeps ${whole(items.length)} of ${whole(stored)}: whole groups, evenly spread over the run.` : "";
  return `${whole(shown.length)} of ${whole(items.length)} rollouts${shown.length ? `, ${((100 * right) / shown.length).toFixed(1)} % correct` : ""}.${sampled}`;
}

function heading() {
  return el("div", { class: "row head", "aria-hidden": "true" }, ["", "step", "under", "problem", "reward", "adv.", "tokens", "response"].map((text, place) => el("span", { class: `c${place}` }, text)));
}

function rowOf(item, text) {
  const adv = known(item.advantage) ? `${item.advantage > 0 ? "+" : ""}${decimals(item.advantage)}` : "";
  const cells = [
    el("span", { class: "c0", style: { color: outcomeColour(item.outcome) } }, OUTCOME_SIGNS[item.outcome] ?? "?"),
    el("span", { class: "c1" }, item.split === "train" ? item.step : `${item.split.slice(0, 3)}. ${item.step}`), el("span", { class: "c2" }, `#${item.prompt}`), el("span", { class: "c3" }, line(item.problem, 40)),
    el("span", { class: "c4" }, decimals(item.reward)), el("span", { class: "c5" }, adv), el("span", { class: "c6" }, whole(item.tokens)), el("span", { class: "c7" }, text ? line(text.turns.join(" ⏎ "), 220) : "…"),
  ];
  return cells;
}

function nameOf(item) {
  return `${item.outcome.replace("_", " ")}, ${item.split} step ${item.step}, prompt ${item.prompt}, problem ${line(item.problem, 60)}, sample ${item.sample}, reward ${decimals(item.reward)}`;
}

function form(index, items, detail, filters, set) {
  const splits = [...new Set(index.files.map((file) => file.split))];
  const prompts = [...new Set(items.map((item) => item.prompt))].sort((a, b) => a - b);
  const select = (name, label, options) => el("label", { for: `filter-${name}` }, label, el("select", { id: `filter-${name}`, on: { change: (event) => set(name, event.target.value) } }, el("option", { value: "" }, "any"), options.map(([value, text]) => el("option", { value, selected: filters[name] === String(value) }, text))));
  const steps_ = index.files.map((file) => file.step);
  const number = (name, label, range) => el("label", { for: `filter-${name}` }, label, el("input", { id: `filter-${name}`, type: "number", min: least(range), max: most(range), value: filters[name] ?? "", on: { change: (event) => set(name, event.target.value) } }));
  const problems = el("datalist", { id: "problems" }, index.problems.slice(0, 2000).map((name) => el("option", { value: name })));
  const chosen = () => filters.outcome?.split(",").filter(Boolean) ?? [];
  const toggle = (outcome) => (event) => set("outcome", (event.target.checked ? [...chosen(), outcome] : chosen().filter((each) => each !== outcome)).join(","));
  const present = index.outcomes.filter((_, place) => index.outcome.includes(place));
  const boxes = present.map((outcome) => el("label", { for: `outcome-${outcome}`, class: "chip", style: { "--tone": outcomeColour(outcome) } }, el("input", { type: "checkbox", id: `outcome-${outcome}`, checked: chosen().includes(outcome), on: { change: toggle(outcome) } }), el("span", {}, `${OUTCOME_SIGNS[outcome]} ${outcome.replace("_", " ")}`)));
  return el("form", { class: "filters", "aria-label": "Filter rollouts", on: { submit: (event) => event.preventDefault() } },
    select("split", "of", splits.map((split) => [split, split === "train" ? "training" : split])), number("from", "from step", steps_), number("to", "to step", steps_),
    prompts.length > LISTED ? number("prompt", "prompt #", prompts) : select("prompt", "prompt", prompts.map((id) => [id, `#${id}${id === detail.shown ? " (shown)" : ""}`])),
    el("label", { for: "filter-problem" }, "problem", el("input", { id: "filter-problem", type: "search", list: "problems", value: filters.problem ?? "", placeholder: "any", on: { input: (event) => set("problem", event.target.value) } }), problems),
    el("fieldset", { class: "chips" }, el("legend", {}, "outcome"), boxes));
}

export function sampledNotice() {
  const told = study.rollouts;
  return told && told.kept < told.stored ? notice(`To stay small, this page holds ${whole(told.kept)} of ${whole(told.stored)} rollouts: whole groups, evenly spread. Shares and scores elsewhere on it are of all.`) : null;
}
