// One run over its iterations: reward, scores, outcomes, prompts, and how far trainer and sampler are apart.

import { el, notice } from "./dom.js";
import { count, decimals, known, points } from "./format.js";
import { outcomeColour } from "./colour.js";
import { lineChart, stackedSeries } from "./chart.js";

export function progress(run, detail) {
  const told = detail.progress;
  const x = { title: "step", write: String, whole: true };
  const over = (values) => told.step.map((step, place) => [step, values[place] ?? null]);
  const share = { write: (value) => points(value), tick: (value) => points(value, 0), min: 0 };
  const line = (title, series, y, height = 190) => lineChart({ label: `${title}, ${run.name}`, title, series, x, y, height });
  const found = [];
  const scores = ["validation", "test"].map((split, place) => ({ name: split, colour: `var(--m${place + 1})`, dash: place ? "7 3" : "", points: told.evaluations.filter((row) => row.split === split).map((row) => [row.step, row.score]) })).filter((each) => each.points.length);
  if (scores.some((each) => each.points.length > 1)) found.push(line("Score on held-out items, percent", scores, share));
  if (told.step.length > 1) {
    found.push(line("Mean training reward", [{ name: "reward", colour: "var(--m1)", points: over(told.reward) }], { write: (value) => decimals(value), min: 0 }));
    const names = [...new Set(told.outcomes.flatMap(Object.keys))];
    found.push(line("Outcomes of training rollouts, percent", stackedSeries(told.step, told.outcomes, names, outcomeColour), { ...share, max: 1 }));
    if (told.tools.length) {
      const tools = (name) => over(told.tools.map((row) => row[name]));
      found.push(line("Tools in training rollouts, percent", [{ name: "rollouts that called", colour: "var(--m1)", points: tools("called") }, { name: "calls that failed", colour: "var(--m2)", dash: "7 3", points: tools("failed_calls") }], { ...share, max: 1 }));
    }
    if (told.words.some((row) => row.mean_words > 0)) {
      found.push(line("Words of a prompt", [{ name: "shown", colour: "var(--m1)", points: over(told.words.map((row) => row.shown_words)) }, { name: "mean of the living", colour: "var(--m2)", dash: "7 3", points: over(told.words.map((row) => row.mean_words)) }], { write: count, min: 0 }));
      found.push(line("Diversity of the living prompts", [{ name: "mean share of words not shared", colour: "var(--m3)", points: over(told.words.map((row) => row.diversity)) }], { write: (value) => decimals(value), min: 0, max: 1 }));
    }
    if (told.train.ratio_mean.some(known)) {
      found.push(line("Trainer to sampler: mean probability ratio", [{ name: "p / q", colour: "var(--m4)", points: over(told.train.ratio_mean) }], { write: (value) => decimals(value, 3) }));
      found.push(line("Entropy of sampled tokens, nats", [{ name: "entropy", colour: "var(--m5)", points: over(told.train.entropy) }], { write: (value) => decimals(value), min: 0 }));
    }
    found.push(line("Tokens per second", [{ name: "sampled", colour: "var(--soft)", points: over(told.speed) }], { write: count, min: 0 }));
  }
  return found.length ? el("div", { class: "charts" }, found) : notice("Nothing to draw: this run makes no iterations, or has only begun.");
}
