// Learning curves of all methods of a test: mean and interval over training seeds, over any measure of what was spent.

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
const chosen = { axis: "iterations", split: "validation" };

export function curves(draw) {
  const tests = study.boards?.tests ?? [];
  if (!tests.length) return [el("h1", {}, "Learning curves"), notice("No run has finished yet; a run's own curves are on its page.")];
  const set = (name) => (value) => { chosen[name] = value; draw(); };
  return [
    el("h1", {}, "Learning curves"),
    el("div", { class: "controls" }, choice("axis", "Over", AXES, chosen.axis, set("axis")), choice("split", "Score on", SPLITS, chosen.split, set("split"))),
    tests.map((test) => testCurves(test)),
    el("p", { class: "fine" }, "Lines are means over training seeds, bands their 95 % t intervals. Over anything but iterations, each run is read between its evaluations by straight lines, as far as all its seeds reach. A dashed grey level is a method that learns nothing."),
  ];
}

function testCurves(test) {
  const bands = test.curves[chosen.split][chosen.axis];
  const styles = methodStyles(test.rows.map((row) => row.method), test.reference);
  const title = `${test.env} · ${test.model}`;
  if (!bands.some((band) => band.x.length > 1)) return el("section", {}, el("h2", {}, title), notice(`No ${chosen.split} scores on the way; runs with ${chosen.split === "test" ? "--test-every" : "--eval-every"} have them.`));
  const series = bands.map((band) => ({
    name: band.method,
    ...styles.get(band.method),
    level: band.x.length === 1,
    points: band.x.map((x, place) => [x, band.mean[place]]),
    band: band.low && band.x.length > 1 ? band.x.map((x, place) => [x, band.low[place], band.high[place]]) : null,
  }));
  const write = chosen.axis === "seconds" ? duration : count;
  return el("section", { "aria-label": title }, lineChart({ label: `${chosen.split} score in percent over ${chosen.axis.replace("_", " ")}, ${title}`, title, series, x: { title: AXES.find((each) => each.value === chosen.axis).text, write }, y: { write: (share) => points(share), tick: (share) => points(share, 0), min: 0 }, height: 340 }));
}
