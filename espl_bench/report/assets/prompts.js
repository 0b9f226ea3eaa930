// The prompts of a run, which come in pieces: where one is, and what is in a piece. Ids rise with birth.

import { glance, part } from "./store.js";

// The piece that holds a prompt, if any does.
export function pieceOf(index, id) {
  return Math.max(0, index.firsts.findLastIndex((first) => first <= id));
}

export function promptsIn(run, number) {
  return part(`prompts/${run.id}/${number}`);
}

// One prompt; null if there is no such one.
export async function promptOf(run, detail, id) {
  if (!detail.prompts.total) return null;
  const found = await promptsIn(run, pieceOf(detail.prompts, id));
  return found.find((prompt) => prompt.id === id) ?? null;
}

export async function parentsOf(run, detail, prompt) {
  const found = await Promise.all(prompt.parents.map((id) => promptOf(run, detail, id)));
  return found.filter(Boolean);
}

// The first prompt after `id`, else the first of all, that holds these words; null if none does.
export async function nextWith(run, detail, words, id) {
  const wanted = words.toLowerCase();
  const { firsts } = detail.prompts;
  const start = id < 0 ? 0 : pieceOf(detail.prompts, id);
  for (let turn = 0; turn <= firsts.length; turn++) {
    const prompts = await glance(`prompts/${run.id}/${(start + turn) % firsts.length}`);
    const hit = prompts.find((prompt) => (turn || prompt.id > id) && prompt.principles.some((text) => text.toLowerCase().includes(wanted)));
    if (hit) return hit;
  }
  return null;
}
