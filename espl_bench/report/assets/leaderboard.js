// The tables: methods by score with intervals, at the end of training or at an equal budget.

import { el, choice, notice, svg, link } from "./dom.js";
import { DASH, decimals, duration, interval, known, pValue, points, signed, tally } from "./format.js";
import { methodStyles } from "./colour.js";
import { sortable } from "./table.js";
import { noRuns } from "./runs.js";
import { study } from "./store.js";

const BUDGETS = [
  { value: "final", text: "end of training" },
  { value: "rollouts", text: "equal rollouts" },
  { value: "generated_tokens", text: "equal tokens" },
  { value: "train_tokens", text: "equal training tokens" },
  { value: "seconds", text: "equal time" },
  { value: "cost", text: "equal cost" },
];
const WHAT = { rollouts: "training rollouts", generated_tokens: "generated tokens, the editor's included", train_tokens: "training tokens", seconds: "of iterations, reflections included", cost: "at list prices" };
const WHISKER = 112;  // pixels of an interval's picture
const AMOUNTS = { seconds: duration, cost: (dollars) => `${Number(dollars.toPrecision(4))} USD` };
const shownAs = { budget: "final", sorting: new Map() };

export function leaderboard(draw) {
  const { boards, runs } = study;
  const waiting = unfinished(runs);
  if (!boards) return [el("h1", {}, "Leaderboard"), runs.length ? notice("No run has finished yet.") : noRuns(), waiting];
  if (boards.unknown) return [el("h1", {}, "Leaderboard"), notice(boards.unknown), waiting];
  return [
    el("h1", {}, "Leaderboard"),
    waiting,
    choice("budget", "Scores at", BUDGETS, shownAs.budget, (value) => { shownAs.budget = value; draw(); }),
    boards.overview ? overviewTable(boards.overview, draw) : null,
    boards.tests.map((test, place) => testTable(test, place, draw)),
    el("p", { class: "fine" }, boards.legend),
  ];
}

function unfinished(runs) {
  const going = runs.filter((run) => !run.finished);
  if (!going.length) return null;
  const stopped = going.filter((run) => run.state === "stopped").length;
  const told = [going.length === 1 ? "One run has not finished and is in no row" : `${going.length} runs have not finished and are in no row`, stopped ? ` (${stopped === going.length ? "" : `${stopped} `}stopped)` : ""];
  return notice(told, ": ", link("runs", {}, "see the runs"), ".");
}

function testTable(test, place, draw) {
  const key = `test-${place}`;
  const styles = methodStyles(test.rows.map((row) => row.method), test.reference);
  const heading = el("h2", {}, test.env, el("span", { class: "soft" }, ` · ${test.model} · avg@${test.k} over ${test.n_items} test items · seeds ${test.seeds.join(", ")}`));
  const notes = test.notes.map((text) => notice(text));
  const sorting = shownAs.sorting.get(key) ?? { key: "score", down: true };
  const onSort = (next) => { shownAs.sorting.set(key, next); draw(); };
  const common = { rowKey: key, sorting, onSort };
  if (shownAs.budget === "final") {
    return el("section", { "aria-label": `${test.env}, ${test.model}` }, heading, sortable({ ...common, label: `Scores on ${test.env}`, columns: finalColumns(test, styles), rows: test.rows }), notes);
  }
  const matched = test.matched[shownAs.budget];
  if (matched.unknown) return el("section", {}, heading, notice(matched.unknown));
  const amount = (AMOUNTS[shownAs.budget] ?? tally)(matched.amount);
  const told = el("p", { class: "fine" }, `At ${amount} ${WHAT[shownAs.budget]}: the largest budget that every run that learns has reached. Read on the ${matched.split} curves; intervals are pointwise, over training seeds.`);
  return el("section", { "aria-label": `${test.env}, ${test.model}` }, heading, sortable({ ...common, label: `Scores on ${test.env} at equal budget`, columns: matchedColumns(matched, styles), rows: matched.rows }), told, notes);
}

function named(style, text) {
  return el("span", { class: "named" }, svg("svg", { width: 10, height: 10, class: "dot", "aria-hidden": "true" }, svg("circle", { cx: 5, cy: 5, r: 4.2, fill: style.colour })), el("span", {}, text));
}

function scored(row, best) {
  return el("span", { class: best ? "best" : null, title: best ? "better than all others beyond the noise, corrected for all pairs" : row.below_noise ? "the gap to the best is within the noise" : null }, points(row.score), el("span", { class: "mark" }, row.below_noise ? " ≈" : "\u2007\u2007"));
}

function whisker(low, high, at, colour, top) {
  const x = (share) => 4 + (share / top) * (WHISKER - 8);
  const parts = known(low) ? [svg("line", { class: "whisker", x1: x(low), x2: x(high), y1: 9, y2: 9, stroke: colour }), [low, high].map((end) => svg("line", { class: "whisker", x1: x(end), x2: x(end), y1: 6, y2: 12, stroke: colour }))] : [];
  return svg("svg", { width: WHISKER, height: 18, role: "img", "aria-label": `score ${points(at)}, interval ${interval(low, high)}` }, svg("line", { class: "grid", x1: 4, x2: WHISKER - 4, y1: 9, y2: 9 }), parts, svg("circle", { cx: x(at), cy: 9, r: 4, fill: colour }));
}

function finalColumns(test, styles) {
  const top = Math.max(0.05, ...test.rows.map((row) => row.ci95[1]));
  const gap = (row, name) => row.difference?.[name];
  const k = Math.max(...Object.keys(test.rows[0].pass_at).map(Number));
  return [
    { key: "method", title: "method", text: true, value: (row) => row.method, cell: (row) => named(styles.get(row.method), row.method) },
    { key: "score", title: "score", hint: "mean test score in percent over seeds", value: (row) => row.score, cell: (row) => scored(row, test.separated && row.method === test.best) },
    { key: "interval", title: `0 … ${points(top, 0)} %`, hint: "95 % interval over seeds and items, pointwise", text: true, value: (row) => row.ci95[0], cell: (row) => whisker(...row.ci95, row.score, styles.get(row.method).colour, top) },
    { key: "ci", title: "95 % CI", value: (row) => row.ci95[1], cell: (row) => interval(...row.ci95) },
    { key: "gap", title: `Δ ${test.reference}`, hint: `paired difference to ${test.reference}; its interval is for this pair alone`, value: (row) => gap(row, "mean"), cell: (row) => signed(gap(row, "mean")) },
    { key: "gapci", title: "Δ 95 % CI", value: (row) => gap(row, "low"), cell: (row) => interval(gap(row, "low"), gap(row, "high"), signed) },
    { key: "rank", title: "rank", hint: "ranks that are left open, corrected for all pairs of the table", value: (row) => row.rank && row.rank[0] + row.rank[1], cell: (row) => rankRange(row.rank) },
    { key: "valid", title: "valid.", hint: "validation score", value: (row) => row.validation, cell: (row) => points(row.validation) },
    { key: "better", title: "P", hint: "chance that a run scores above one of the reference", value: (row) => gap(row, "p_improvement"), cell: (row) => decimals(gap(row, "p_improvement")) },
    { key: "p", title: "p", hint: "paired permutation over items, for these runs only", value: (row) => gap(row, "p_permutation"), cell: (row) => pValue(gap(row, "p_permutation")) },
    { key: "pholm", title: "p Holm", hint: "of the paired difference, corrected for all pairs of the table; ranks and ≈ follow it", value: (row) => row.p_corrected, cell: (row) => pValue(row.p_corrected) },
    { key: "pass", title: `pass@${k}`, value: (row) => row.pass_at[k], cell: (row) => points(row.pass_at[k]) },
    { key: "seeds", title: "seeds", value: (row) => row.seeds.length, cell: (row) => row.seeds.length },
    { key: "rollouts", title: "rollouts", value: (row) => row.cost.rollouts, cell: (row) => tally(row.cost.rollouts) },
    { key: "tokens", title: "tokens", hint: "generated in training, mean per run", value: (row) => row.cost.generated_tokens, cell: (row) => tally(row.cost.generated_tokens) },
    { key: "reflection", title: "reflection", hint: "tokens the editor wrote", value: (row) => row.cost.reflection_tokens, cell: (row) => tally(row.cost.reflection_tokens) },
    { key: "evaluation", title: "evaluation", hint: "tokens sampled in evaluations, counted separately", value: (row) => row.cost.eval_tokens, cell: (row) => tally(row.cost.eval_tokens) },
    { key: "wall", title: "time", value: (row) => row.cost.wall_s, cell: (row) => duration(row.cost.wall_s) },
  ];
}

function matchedColumns(matched, styles) {
  const top = Math.max(0.05, ...matched.rows.map((row) => Math.min(1, row.ci95?.[1] ?? row.score)));
  const kept = (value) => Math.min(1, Math.max(0, value));
  return [
    { key: "method", title: "method", text: true, value: (row) => row.method, cell: (row) => named(styles.get(row.method), row.method) },
    { key: "score", title: "score", value: (row) => row.score, cell: (row) => points(row.score) },
    { key: "interval", title: `0 … ${points(top, 0)} %`, text: true, value: (row) => row.ci95?.[0], cell: (row) => whisker(row.ci95 && kept(row.ci95[0]), row.ci95 && kept(row.ci95[1]), row.score, styles.get(row.method).colour, top) },
    { key: "ci", title: "95 % CI", hint: "over training seeds, pointwise", value: (row) => row.ci95?.[1], cell: (row) => interval(row.ci95?.[0], row.ci95?.[1]) },
    { key: "gap", title: `Δ ${matched.reference}`, value: (row) => row.difference, cell: (row) => signed(row.difference) },
    { key: "gapci", title: "Δ 95 % CI", value: (row) => row.difference95?.[0], cell: (row) => interval(row.difference95?.[0], row.difference95?.[1], signed) },
    { key: "seeds", title: "seeds", value: (row) => row.seeds.length, cell: (row) => row.seeds.length },
  ];
}

function overviewTable(over, draw) {
  const sorting = shownAs.sorting.get("overview") ?? { key: "iqm", down: true };
  const columns = [
    { key: "method", title: "method", text: true, value: (row) => row.method, cell: (row) => row.method },
    { key: "iqm", title: "IQM", hint: "interquartile mean over runs and environments", value: (row) => row.iqm, cell: (row) => points(row.iqm) },
    { key: "ci", title: "95 % CI", value: (row) => row.iqm95?.[0], cell: (row) => interval(row.iqm95?.[0], row.iqm95?.[1]) },
    { key: "gap", title: `Δ ${over.reference}, 95 % CI`, value: (row) => row.difference?.[0], cell: (row) => interval(row.difference?.[0], row.difference?.[1], signed) },
    { key: "better", title: "P", value: (row) => row.p_improvement, cell: (row) => decimals(row.p_improvement) },
    { key: "rank", title: "rank", value: (row) => row.rank?.[0], cell: (row) => rankRange(row.rank) },
    ...over.environments.map((env, place) => ({ key: `env${place}`, title: env, value: (row) => row.scores_E[place], cell: (row) => [el("span", { class: row.best_E[place] ? "best" : null }, points(row.scores_E[place])), row.below_noise_E[place] ? " ≈" : ""] })),
  ];
  const onSort = (next) => { shownAs.sorting.set("overview", next); draw(); };
  return el("section", { "aria-label": "Overview" }, el("h2", {}, "Overview"), sortable({ label: "All environments", rowKey: "overview", columns, rows: over.rows, sorting, onSort }), over.notes.map((text) => notice(text)));
}

// A control has no rank.
function rankRange(rank) {
  if (!rank) return DASH;
  return rank[0] === rank[1] ? rank[0] : `${rank[0]}–${rank[1]}`;
}
