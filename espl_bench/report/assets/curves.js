// Learning curves of all methods of a test: mean and interval over training seeds, or every seed, over any measure of what was spent.

import { choice, el, notice } from "./dom.js";
import { count, duration, points } from "./format.js";
import { methodStyles } from "./colour.js";
import { lineChart } from "./chart.js";
import { study } from "./store.js";

const AXES = [
  { value: "iterations", text: "iterations" },
  { value: "rollouts", text: "rollouts" },
  { value: "tokens", text: "generated tokens" },
  { value: "train_tokens", text: "training tokens" },
  { value: "seconds", text: "seconds" },
];
const SPLITS = [{ value: "validation", text: "validation" }, { value: "test", text: "test" }];
const SEEDS = [{ value: "mean", text: "mean and interval" }, { value: "each", text: "each seed" }];
const MANY = 8;  // lines that are drawn at first; the legend has the others
const chosen = { axis: "iterations", split: "validation", seeds: "mean" };
const hidden = new Map();

export function curves(draw) {
  const tests = study.boards?.tests ?? [];
  if (!tests.length) return [el("h1", {}, "Learning curves"), notice("No run has finished yet; a run's own curves are on its page.")];
  const set = (name) => (value) => { chosen[name] = value; draw(); };
  return [
    el("h1", {}, "Learning curves"),
    el("div", { class: "controls" }, choice("axis", "Over", AXES, chosen.axis, set("axis")), choice("split", "Score on", SPLITS, chosen.split, set("split")), choice("seeds", "Seeds", SEEDS, chosen.seeds, set("seeds"))),
    tests.map((test) => testCurves(test)),
    el("p", { class: "fine" }, "Lines are means over training seeds, bands their pointwise 95 % t intervals; thin lines are single seeds. Over anything but iterations, each run is read between its evaluations by straight lines, as far as all its seeds reach. A dashed grey level is a method that learns nothing. A click on a name switches its line."),
  ];
}

function testCurves(test) {
  const bands = test.curves[chosen.split][chosen.axis];
  const title = `${test.env} · ${test.model}`;
  if (!bands.some((band) => band.x.length > 1)) return el("section", {}, el("h2", {}, title), notice(`No ${chosen.split} scores on the way; runs with ${chosen.split === "test" ? "--test-every" : "--eval-every"} have them.`));
  const write = chosen.axis === "seconds" ? duration : count;
  const off = hiddenOf(title, bands, test.reference);
  return el("section", { "aria-label": title },
    lineChart({ label: `${chosen.split} score in percent over ${chosen.axis.replace("_", " ")}, ${title}`, title, series: seriesOf(test, bands), hidden: off, x: { title: AXES.find((each) => each.value === chosen.axis).text, write, whole: chosen.axis === "iterations" }, y: { write: (share) => points(share), tick: (share) => points(share, 0), min: 0 }, height: 340 }),
    bands.length > MANY ? el("p", { class: "fine" }, `${bands.length} methods: at first the ${MANY} best of the test and the reference are drawn.`) : null);
}

// Of many methods the best of the table are drawn at first; what is switched then stays so while the page is open.
function hiddenOf(title, bands, reference) {
  if (!hidden.has(title)) hidden.set(title, new Set(bands.slice(MANY).map((band) => band.method).filter((method) => method !== reference)));
  return hidden.get(title);
}

function seriesOf(test, bands) {
  const styles = methodStyles(test.rows.map((row) => row.method), test.reference);
  return bands.map((band) => ({
    name: band.method,
    ...styles.get(band.method),
    level: band.x.length === 1,
    points: band.x.map((x, place) => [x, band.mean[place]]),
    band: chosen.seeds === "mean" && band.low && band.x.length > 1 ? band.x.map((x, place) => [x, band.low[place], band.high[place]]) : null,
    lines: chosen.seeds === "each" ? linesOf(test, band.method) : [],
  }));
}

function linesOf(test, method) {
  return test.lines[chosen.split].filter((line) => line.method === method).map((line) => ({ name: `${method}, seed ${line.seed}`, points: line.score.map((score, place) => [line[chosen.axis][place], score]) }));
}
