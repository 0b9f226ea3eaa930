// One system prompt: what it says, what it changed of its parents and on what evidence, how it was rated, and what was rolled out under it.

import { el, folded, link } from "./dom.js";
import { decimals, known, line, plural } from "./format.js";
import { lineChart } from "./chart.js";
import { principles, steps, words } from "./diff.js";
import { parentsOf } from "./prompts.js";
import { hash } from "./router.js";

const SIGNS = { same: " ", gone: "−", new: "+", changed: "±" };
const SPOKEN = { same: "kept", gone: "left out", new: "added", changed: "reworded" };

export async function promptPanel(run, detail, prompt) {
  const parents = await parentsOf(run, detail, prompt);
  const path = ["run", run.id];
  const rollouts = link(hash([...path, "rollouts"], { prompt: prompt.id }), { class: "button" }, `rollouts under #${prompt.id}`);
  return el("section", { class: "panel", "aria-label": `Prompt ${prompt.id}` },
    el("h2", {}, `#${prompt.id}`, el("span", { class: "soft" }, ` · ${descent(prompt)}${prompt.id === detail.shown ? " · shown in evaluations" : ""}${prompt.lives ? "" : " · extinct"}`)),
    el("dl", { class: "facts" },
      fact("born", `step ${prompt.born_step}`),
      fact("rating", `${decimals(prompt.rating.mu, 1)} ± ${decimals(prompt.rating.sigma, 1)}`),
      fact("rankings", prompt.matches),
      fact("last mean reward", decimals(prompt.mean_reward)),
      fact("principles", prompt.principles.length)),
    el("p", {}, rollouts),
    el("h3", {}, "What it says"),
    prompt.principles.length ? el("ol", { class: "principles", start: 0 }, prompt.principles.map((text, place) => principle(text, place, prompt.credit[place]))) : el("p", { class: "soft" }, "Nothing: the root prompt has no principles."),
    parents.map((parent) => parentDiff(path, prompt, parent)),
    evidence(prompt),
    ratedOver(prompt));
}

// A principle and, of a living prompt, what rollouts with it and without it say about it.
function principle(text, place, credit) {
  return el("li", {},
    el("span", { class: "number" }, `G${place}`),
    el("div", {}, el("span", { class: "said" }, text), credit ? el("div", { class: "soft" }, credit) : null));
}

export function descent(prompt) {
  if (!prompt.parents.length) return prompt.origin;
  const [first, ...others] = prompt.parents.map((id) => `#${id}`);
  return `${prompt.origin} of ${first}${others.length ? ` with ${others.join(" ")}` : ""}`;
}

function fact(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function parentDiff(path, prompt, { id, principles: before }) {
  const { changes, told } = compared(before, prompt.principles);
  return el("section", { class: "diff", "aria-label": `Difference to prompt ${id}` },
    el("h3", {}, "Against ", link(hash([...path, "tree"], { prompt: id }), {}, `#${id}`), el("span", { class: "soft" }, ` · ${told}`)),
    changes);
}

// What one list of principles has that the other has not, and the counts in words.
export function compared(before, after) {
  const changes = principles(before, after);
  const kept = changes.filter((step) => step.kind === "same");
  const counts = ["new", "changed", "gone", "same"].map((kind) => [kind, changes.filter((step) => step.kind === kind).length]).filter(([, number]) => number);
  const told = counts.map(([kind, number]) => `${number} ${SPOKEN[kind]}`).join(", ") || "nothing to compare";
  return { told, changes: [el("ul", {}, changes.filter((step) => step.kind !== "same").map(change)), kept.length ? folded(`${kept.length} kept`, false, el("ul", {}, kept.map(change))) : null] };
}

function change(step) {
  const number = `G${step.to ?? step.from}`;
  return el("li", { class: step.kind }, el("span", { class: "sign", "aria-label": SPOKEN[step.kind], role: "img" }, SIGNS[step.kind]), el("span", { class: "number" }, number), el("span", { class: "said" }, step.kind === "changed" ? reworded(step) : step.text));
}

function reworded(step) {
  return steps(words(step.before), words(step.text)).map((each) => (each.kind === "same" ? each.text : el(each.kind === "gone" ? "del" : "ins", {}, each.text)));
}

function evidence(prompt) {
  if (!prompt.evidence.length) return null;
  const items = prompt.evidence.map((edit) => el("li", {},
    el("span", { class: "op" }, edit.op), " ", edit.ids.map((place) => `G${place} `), edit.principle ? el("span", { class: "said" }, edit.principle) : null,
    el("div", { class: "soft" }, edit.reason ? [el("span", { class: "said" }, edit.reason), " · "] : null, el("span", {}, `from ${line(edit.source)}`))));
  return folded(`evidence: ${plural(items.length, "edit")}`, items.length <= 8, el("ul", { class: "evidence" }, items));
}

function ratedOver(prompt) {
  const rated = prompt.history;
  if (rated.length < 2) return el("p", { class: "soft" }, "It has met no other prompt yet.");
  const series = [
    { name: "rating μ, band ± 2σ", colour: "var(--m1)", points: rated.map(([step, mu]) => [step, mu]), band: rated.map(([step, mu, sigma]) => [step, mu - 2 * sigma, mu + 2 * sigma]) },
  ];
  const rewards = rated.filter(([, , , mean]) => known(mean));
  return [
    lineChart({ label: `Rating of prompt ${prompt.id} over time`, title: "Rating over time", series, x: { title: "step", write: String, whole: true }, y: { write: (mu) => decimals(mu, 0) }, height: 170 }),
    lineChart({ label: `Mean reward under prompt ${prompt.id} over time`, title: "Mean reward", series: [{ name: "in each step it was rolled out", colour: "var(--m2)", points: rewards.map(([step, , , mean]) => [step, mean]) }], x: { title: "step", write: String, whole: true }, y: { write: (mean) => decimals(mean), min: 0 }, height: 150 }),
  ];
}
