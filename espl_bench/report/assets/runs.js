// The list of runs, and one run with its four views.

import { el, link, notice } from "./dom.js";
import { interval, points, whole } from "./format.js";
import { hash, route } from "./router.js";
import { stateOf } from "./state.js";
import { live, part, study } from "./store.js";
import { sortable } from "./table.js";
import { tree } from "./tree.js";
import { rollouts, sampledNotice } from "./rollouts.js";
import { progress } from "./progress.js";
import { card } from "./card.js";

const TABS = [["progress", "Progress"], ["tree", "Tree"], ["rollouts", "Rollouts"], ["card", "Card"]];
const VIEWS = { progress, tree, rollouts, card };
const order = { sorting: { key: "label", down: false } };

export function runList(draw) {
  if (!study.runs.length && !study.boards) return [el("h1", {}, "Runs"), noRuns()];
  if (!study.runs.length) return [el("h1", {}, "Runs"), notice("Only summaries are here. A run directory also shows its tree, its rollouts and its card.")];
  const score = (run) => (run.finished ? `${points(run.score)}` : "");
  const columns = [
    { key: "name", title: "run", text: true, value: (run) => run.name, cell: (run) => link(hash(["run", run.id]), {}, run.name) },
    { key: "label", title: "method", text: true, value: (run) => `${run.label} ${String(run.seed).padStart(9, "0")}`, cell: (run) => run.label },
    { key: "env", title: "environment", text: true, value: (run) => run.env, cell: (run) => run.env },
    { key: "seed", title: "seed", value: (run) => run.seed, cell: (run) => run.seed },
    { key: "steps", title: "steps", value: (run) => run.steps, cell: (run) => `${whole(run.steps)}${run.finished ? "" : ` of ${whole(run.iterations)}`}` },
    { key: "state", title: "state", text: true, value: (run) => run.state, cell: (run) => stateOf(run) },
    { key: "score", title: "test", value: (run) => run.score, cell: score },
    { key: "ci", title: "95 % CI", hint: "over the items of this run", value: (run) => run.ci95?.[0], cell: (run) => interval(run.ci95?.[0], run.ci95?.[1]) },
    { key: "validation", title: "valid.", value: (run) => run.validation, cell: (run) => points(run.validation) },
    { key: "prompts", title: "prompts", value: (run) => run.prompts, cell: (run) => whole(run.prompts) },
  ];
  const onSort = (next) => { order.sorting = next; draw(); };
  return [el("h1", {}, "Runs"), sampledNotice(), study.unreadable.map((text) => notice(text)), sortable({ label: "Runs", rowKey: "runs", columns, rows: study.runs, sorting: order.sorting, onSort })];
}

export function noRuns() {
  return notice(live ? "No run has begun there yet. This page shows it when it does." : "There are no runs here.");
}

export async function runPage() {
  const [, id, tab = "progress"] = route().parts;
  const run = study.runs.find((each) => each.id === id);
  if (!run || !VIEWS[tab]) return [el("h1", {}, "Not here"), notice("There is no such run in this report. ", link("runs", {}, "See all runs"), ".")];
  const detail = await part(`run/${run.id}`);
  const tabs = TABS.map(([name, text]) => link(hash(["run", run.id, name]), { id: `tab-${name}`, "aria-current": name === tab ? "page" : null }, text));
  const told = [run.label, run.env, run.model, `seed ${run.seed}`, run.finished ? `test ${points(run.score)} % (${interval(...run.ci95)})` : `${run.steps} of ${run.iterations} steps`];
  return [
    el("h1", {}, run.name, el("span", { class: "soft" }, ` · ${told.join(" · ")}`), run.finished ? null : [" ", stateOf(run)]),
    run.warnings.map((text) => notice(text)),
    el("nav", { class: "tabs", "aria-label": `Views of ${run.name}` }, tabs, study.runs.length > 1 ? link(hash(["compare"], { a: run.id }), { id: "tab-compare" }, "Beside another") : null),
    await VIEWS[tab](run, detail),
  ];
}
