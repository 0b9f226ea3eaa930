// Two runs side by side: how they were made and what came out, their curves and outcomes, and the prompts that they ended with.

import { el, folded, link, notice, sideways } from "./dom.js";
import { count, decimals, duration, interval, known, points, whole } from "./format.js";
import { outcomeColour } from "./colour.js";
import { lineChart, stackedSeries } from "./chart.js";
import { compared } from "./prompt.js";
import { promptOf } from "./prompts.js";
import { go, hash, route } from "./router.js";
import { stateOf } from "./state.js";
import { part, study } from "./store.js";

const LOOKS = [{ colour: "var(--m1)", dash: "", marker: "circle" }, { colour: "var(--m2)", dash: "7 3", marker: "square" }];
const SHARE = { write: (value) => points(value), tick: (value) => points(value, 0), min: 0 };

export async function comparison() {
  const pair = chosenPair(route().query);
  if (!pair) return [el("h1", {}, "Two runs"), notice("It takes two runs to compare; this report has fewer.")];
  const details = await Promise.all(pair.map((run) => part(`run/${run.id}`)));
  const prompts = await Promise.all(pair.map((run, place) => promptOf(run, details[place], details[place].shown)));
  return [
    el("h1", {}, "Two runs"),
    chooser(pair),
    el("section", { "aria-label": "Result" }, el("h2", {}, "Result"), runFacts(pair, details), differences(details)),
    el("section", { "aria-label": "Curves" }, el("h2", {}, "Curves"), curvesOf(pair, details)),
    el("section", { "aria-label": "Outcomes" }, el("h2", {}, "Outcomes"), outcomesOf(pair, details)),
    el("section", { "aria-label": "Prompts" }, el("h2", {}, "Prompts shown in evaluations"), promptsOf(pair, prompts)),
  ];
}

// The runs that the address names; else the first, and the first of another method beside it.
function chosenPair(query) {
  const { runs } = study;
  if (runs.length < 2) return null;
  const a = runs.find((run) => run.id === query.get("a")) ?? runs[0];
  const others = runs.filter((run) => run !== a);
  const b = others.find((run) => run.id === query.get("b")) ?? others.find((run) => run.label !== a.label && run.env === a.env && run.seed === a.seed) ?? others.find((run) => run.env === a.env) ?? others[0];
  return [a, b];
}

function chooser([a, b]) {
  const select = (side, label, chosen, other) => el("label", { for: `compare-${side}` }, label, " ", el("select", { id: `compare-${side}`, on: { change: (event) => go(["compare"], { a: a.id, b: b.id, [side]: event.target.value }) } },
    study.runs.map((run) => el("option", { value: run.id, selected: run === chosen, disabled: run === other }, `${run.name} · ${run.label} · seed ${run.seed}`))));
  return el("div", { class: "filters chooser" }, select("a", "left", a, b), select("b", "right", b, a), link(hash(["compare"], { a: b.id, b: a.id }), { class: "button" }, "swap"));
}

function runFacts(pair, details) {
  const ledger = (name, write) => details.map((detail) => (detail.card.summary ? write(detail.card.summary.ledger[name]) : "–"));
  const rows = [
    ["method", pair.map((run) => run.label)],
    ["environment", pair.map((run) => run.env)],
    ["model", pair.map((run) => run.model)],
    ["seed", pair.map((run) => run.seed)],
    ["state", pair.map((run) => stateOf(run))],
    ["steps", pair.map((run) => `${whole(run.steps)} of ${whole(run.iterations)}`)],
    ["test score, 95 % CI over its items", pair.map((run) => (run.finished ? `${points(run.score)} (${interval(...run.ci95)})` : "–"))],
    ["validation score", pair.map((run) => points(run.validation))],
    ["prompts made", pair.map((run) => whole(run.prompts))],
    ["training rollouts", ledger("rollouts", whole)],
    ["generated tokens", ledger("generated_tokens", count)],
    ["tokens the editor wrote", ledger("reflection_tokens", count)],
    ["time", ledger("wall_s", duration)],
  ];
  return pairTable("Result", pair, rows);
}

function pairTable(label, pair, rows) {
  return sideways(label, el("table", { class: "values pair", "aria-label": label },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }), pair.map((run) => el("th", { scope: "col" }, link(hash(["run", run.id]), {}, run.name))))),
    el("tbody", {}, rows.map(([name, cells]) => el("tr", {}, el("th", { scope: "row" }, name), cells.map((cell) => el("td", {}, cell)))))));
}

function flat(value, name = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value) || !Object.keys(value).length) return [[name, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([field, each]) => flat(each, name ? `${name}.${field}` : field));
}

// What was configured differently: two runs that differ in more than their method are not a comparison of methods.
function differences(details) {
  const [a, b] = details.map((detail) => new Map(flat(detail.card.config)));
  const names = [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name)).sort();
  if (!names.length) return el("p", { class: "soft" }, "They were configured alike.");
  const rows = names.map((name) => el("tr", {}, el("th", { scope: "row" }, name), [a, b].map((side) => el("td", { class: "said" }, side.get(name) ?? "–"))));
  return folded(`configured differently: ${names.length} ${names.length === 1 ? "value" : "values"}`, names.length <= 12, sideways("Configured differently", el("table", { class: "values pair", "aria-label": "Configured differently" }, el("tbody", {}, rows))));
}

function curvesOf(pair, details) {
  const series = (read) => pair.map((run, place) => ({ name: run.name, ...LOOKS[place], points: read(details[place].progress) })).filter((each) => each.points.length > 1);
  const scores = (split) => series((told) => told.evaluations.filter((row) => row.split === split).map((row) => [row.step, row.score]));
  const over = (values) => series((told) => told.step.map((step, place) => [step, values(told)[place] ?? null]));
  const charts = [
    ["Validation score, percent", scores("validation"), SHARE],
    ["Test score, percent", scores("test"), SHARE],
    ["Mean training reward", over((told) => told.reward), { write: (value) => decimals(value), min: 0 }],
    ["Words of the shown prompt", over((told) => told.words.map((row) => row.shown_words)), { write: count, min: 0 }],
  ].filter(([, lines]) => lines.some((each) => each.points.some(([, y]) => known(y))));
  return charts.length ? el("div", { class: "charts" }, charts.map(([label, lines, y]) => lineChart({ label, series: lines, x: { title: "step", write: String, whole: true }, y, height: 200 }))) : notice("Neither has made an iteration or an evaluation yet.");
}

function outcomesOf(pair, details) {
  const names = [...new Set(details.flatMap((detail) => [...detail.progress.outcomes, ...detail.progress.evaluations.map((row) => row.outcomes)].flatMap(Object.keys)))];
  const latest = details.map((detail) => detail.progress.evaluations.filter((row) => row.split === "test").at(-1)?.outcomes);
  const rows = names.map((name) => [name.replace("_", " "), latest.map((shares) => (shares ? `${points(shares[name] ?? 0)} %` : "–"))]);
  const charts = pair.map((run, place) => ({ run, told: details[place].progress })).filter(({ told }) => told.step.length > 1)
    .map(({ run, told }) => lineChart({ label: `Training rollouts of ${run.name}, percent`, series: stackedSeries(told.step, told.outcomes, names, outcomeColour), x: { title: "step", write: String, whole: true }, y: { ...SHARE, max: 1 }, height: 200 }));
  return [latest.some(Boolean) ? [el("p", { class: "soft" }, "In the last evaluation on the test split:"), pairTable("Outcomes on the test split", pair, rows)] : null, el("div", { class: "charts two" }, charts)];
}

function promptsOf(pair, prompts) {
  if (!prompts.every(Boolean)) return notice("One of them has no prompt yet.");
  const columns = pair.map((run, place) => el("section", { "aria-label": `Prompt of ${run.name}` },
    el("h3", {}, link(hash(["run", run.id, "tree"], { prompt: prompts[place].id }), {}, `${run.name} #${prompts[place].id}`), el("span", { class: "soft" }, ` · rating ${decimals(prompts[place].rating.mu, 1)} ± ${decimals(prompts[place].rating.sigma, 1)}`)),
    prompts[place].principles.length ? el("ol", { class: "principles", start: 0 }, prompts[place].principles.map((text, at) => el("li", {}, el("span", { class: "number" }, `G${at}`), el("span", { class: "said" }, text)))) : el("p", { class: "soft" }, "Nothing: the root prompt has no principles.")));
  const { told, changes } = compared(prompts[0].principles, prompts[1].principles);
  return [el("div", { class: "charts two" }, columns), el("section", { class: "diff", "aria-label": "Difference of the prompts" }, el("h3", {}, "From left to right", el("span", { class: "soft" }, ` · ${told}`)), changes)];
}
