// One rollout: the problem, every turn with thinking, calls and the environment's answers folded, and what it was worth.

import { choice, el, folded, link } from "./dom.js";
import { decimals, known, line, plural } from "./format.js";
import { OUTCOME_SIGNS, outcomeColour } from "./colour.js";
import { parts } from "./fold.js";
import { COLOURINGS, coloured } from "./tokens.js";
import { hash } from "./router.js";

const look = { colouring: "none" };

export function badge(outcome) {
  return el("span", { class: "badge", style: { "--tone": outcomeColour(outcome) } }, el("span", { "aria-hidden": "true" }, OUTCOME_SIGNS[outcome] ?? "?"), ` ${outcome.replace("_", " ")}`);
}

export function rolloutPanel(run, prompt, item, text, draw) {
  const tokens = text.lengths.some((lengths) => lengths.length);
  const options = COLOURINGS.map((each) => ({ ...each, disabled: (each.value === "surprisal" && !tokens) || (each.value === "advantage" && !known(item.advantage)) }));
  const colouring = options.find((each) => each.value === look.colouring && !each.disabled) ? look.colouring : "none";
  return el("section", { class: "panel", "aria-label": "Rollout" },
    el("h2", {}, line(item.problem, 80), el("span", { class: "soft" }, ` · ${item.split} · step ${item.step} · sample ${item.sample}`)),
    el("p", { class: "facts-line" }, badge(item.outcome), el("span", {}, `reward ${decimals(item.reward)}`), known(item.advantage) ? el("span", {}, `advantage ${item.advantage > 0 ? "+" : ""}${decimals(item.advantage)}`) : null, el("span", {}, plural(item.tokens, "token")), el("span", {}, `ended by ${text.stop ?? "a fault before the first word"}`)),
    text.error ? el("p", { class: "notice said" }, text.error) : null,
    prompt ? folded(`system prompt #${prompt.id}, ${plural(prompt.principles.length, "principle")}`, false,
      el("ol", { class: "principles", start: 0 }, prompt.principles.map((each, place) => el("li", {}, el("span", { class: "number" }, `G${place}`), el("span", { class: "said" }, each)))),
      el("p", {}, link(hash(["run", run.id, "tree"], { prompt: prompt.id }), {}, "in the tree"))) : null,
    el("h3", {}, "Problem"), el("pre", { class: "said" }, text.question),
    choice("colouring", "Tokens", options, colouring, (value) => { look.colouring = value; draw(); }),
    colouring === "none" ? null : colourScale(colouring),
    colouring === "advantage" ? el("p", { class: "fine" }, "One rollout has one advantage: its reward minus the mean of the rollouts it is compared with.") : null,
    tokens ? null : el("p", { class: "fine" }, "Log-probabilities of this rollout's tokens are not stored: the run is older than them, or its engine knows none."),
    (text.opening ?? []).map((said) => folded(`the agent begins${said.tool === null ? "" : `, as ${line(said.tool, 40)}`}, ${plural(said.text.length, "character")}`, false, el("pre", { class: "said reply" }, said.text))),
    text.turns.map((said, place) => turn(text, said, place, colouring, item)),
    text.submitted === undefined ? null : [el("h3", {}, "Handed in by the agent"), el("pre", { class: "said" }, text.submitted)],
    el("h3", {}, "True answer"), el("pre", { class: "said" }, text.answer));
}

function turn(text, said, place, colouring, item) {
  const told = { lengths: text.lengths[place] ?? [], surprisals: text.surprisals[place] ?? [] };
  const pieces = parts(said).map((part) => {
    const nodes = coloured(said, part.start, part.end, told, colouring, item.advantage);
    if (part.kind === "say") return el("div", { class: "said say" }, nodes);
    return folded(`${part.name}, ${plural(part.end - part.start, "character")}`, false, el("div", { class: `said ${part.kind}` }, nodes));
  });
  const heard = text.heard[place] ?? [];
  return [
    el("h3", {}, text.turns.length > 1 ? `Response, turn ${place + 1}` : "Response"),
    el("div", { class: "turn" }, pieces),
    heard.map((reply) => folded(`${reply.tool === null ? "the environment" : line(reply.tool, 40)} answers, ${plural(reply.text.length, "character")}`, false, el("pre", { class: "said reply" }, reply.text))),
  ];
}
