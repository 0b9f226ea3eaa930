// Whether a run has finished, goes on, or was left: in words, and since when.

import { el } from "./dom.js";
import { duration } from "./format.js";
import { live } from "./store.js";

export function stateOf(run) {
  const since = run.state !== "finished" && live ? el("span", { class: "soft", "data-written": run.written }, written(run.written)) : null;
  return el("span", { class: `state ${run.state}`, title: hint(run) }, run.state, since);
}

// Tells the time again, so that a run that writes nothing is seen to.
export function tick() {
  for (const node of document.querySelectorAll("[data-written]")) node.textContent = written(Number(node.dataset.written));
}

function hint(run) {
  if (run.state === "running") return "a process of this machine is writing it";
  if (run.state === "stopped") return `it has not finished, and no process of this machine ${live ? "writes it" : "wrote it when this report was made"}; espl-bench resume continues it`;
  return null;
}

function written(seconds) {
  const since = Date.now() / 1000 - seconds;
  return ` · written ${since < 5 ? "just now" : `${duration(since)} ago`}`;
}
