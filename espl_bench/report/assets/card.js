// The run card: what was configured, what was spent, and where the numbers come from. Nested values unfold.

import { el, folded } from "./dom.js";
import { count, duration, interval, known, points, whole } from "./format.js";

const MEANINGS = { rollouts: "training rollouts", generated_tokens: "generated tokens", prompt_tokens: "prompt tokens", reflection_tokens: "tokens the editor wrote", reflection_prompt_tokens: "tokens the editor read", reflection_calls: "calls of the editor", train_tokens: "training tokens", eval_rollouts: "evaluation rollouts", eval_tokens: "evaluation tokens", eval_prompt_tokens: "evaluation prompt tokens", wall_s: "time", device_s: "time on the device" };

export function card(run, detail) {
  const { config, provenance, summary } = detail.card;
  const tools = detail.progress.evaluations.filter((row) => row.split === "test").at(-1)?.tools ?? {};
  return el("div", { class: "cards" },
    el("section", { "aria-label": "Result" }, el("h2", {}, "Result"), summary ? facts([
      ["test score", `${points(summary.score)} % (${interval(...summary.ci95)})`], ["samples × items", `${summary.k} × ${summary.n_items}`], ["validation", points(summary.validation_score)],
      ...Object.entries(summary.outcomes).map(([name, share]) => [name.replace("_", " "), `${points(share)} %`]), ["rollouts that called a tool", known(tools.called) ? `${points(tools.called)} %` : null], ["calls that failed", known(tools.failed_calls) ? `${points(tools.failed_calls)} %` : null], ["cost", known(summary.cost_usd) ? `${summary.cost_usd.toFixed(2)} USD` : null], ["run id", summary.run_id],
    ]) : el("p", { class: "soft" }, `${run.steps} of ${run.iterations} steps; the result comes at the end.`)),
    el("section", { "aria-label": "Ledger" }, el("h2", {}, "Ledger"), summary ? facts(Object.entries(summary.ledger).map(([name, value]) => [MEANINGS[name] ?? name, name.endsWith("_s") ? duration(value) : `${whole(value)}${value > 9999 ? ` (${count(value)})` : ""}`])) : el("p", { class: "soft" }, "Written at the end.")),
    el("section", { "aria-label": "Method" }, el("h2", {}, "Method"), values(config.method)),
    el("section", { "aria-label": "Configuration", class: "broad columns" }, el("h2", {}, "Configuration"), values(Object.fromEntries(Object.entries(config).filter(([name]) => name !== "method")))),
    el("section", { "aria-label": "Provenance", class: "broad" }, el("h2", {}, "Provenance"), values(provenance)));
}

function facts(rows) {
  return el("dl", { class: "values" }, rows.filter(([, value]) => known(value)).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function values(record) {
  return el("dl", { class: "values" }, Object.entries(record).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, leaf(name, value)))));
}

function leaf(name, value) {
  if (value === null) return el("span", { class: "soft" }, "none");
  if (typeof value !== "object") return longText(name, String(value));
  const entries = Array.isArray(value) ? value.map((each, place) => [String(place), each]) : Object.entries(value);
  if (!entries.length) return el("span", { class: "soft" }, "empty");
  if (Array.isArray(value) && entries.every(([, each]) => typeof each !== "object") && entries.length <= 12) return el("span", { class: "said" }, value.map(String).join(", "));
  return folded(`${entries.length} ${Array.isArray(value) ? "values" : "entries"}`, false, values(Object.fromEntries(entries)));
}

function longText(name, text) {
  return text.length > 240 ? folded(`${text.length} characters`, false, el("pre", { class: "said" }, text)) : el("span", { class: "said" }, text);
}
