// Where data come from: the page itself, or in `espl-bench view` the server that sent it. Parts are opened when they are looked at.

const cache = new Map();
let name = null;
export let study = null;

const embedded = document.getElementById("study");
export const live = embedded === null;

async function ask(path, headers = {}) {
  const answer = await fetch(path, { headers });
  if (answer.status === 304) return { answer, data: null };
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error ?? `the server answers ${answer.status}`);
  return { answer, data };
}

async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Reads the study; true if it has changed.
export async function refresh() {
  if (!live) {
    study = JSON.parse(embedded.textContent);
    return true;
  }
  const { answer, data } = await ask("study", name ? { "If-None-Match": name } : {});
  if (data === null) return false;
  name = answer.headers.get("ETag");
  study = data;
  cache.clear();
  return true;
}

// One part, e.g. `run/espl-s0`. What is embedded stays embedded until it is asked for.
export function part(path) {
  if (!cache.has(path)) {
    const found = glance(path);
    cache.set(path, found);
    found.catch(() => cache.delete(path));
  }
  return cache.get(path);
}

// The same without keeping it: for a search that goes through everything.
export function glance(path) {
  if (cache.has(path)) return cache.get(path);
  return live ? ask(path.split("/").map(encodeURIComponent).join("/")).then(({ data }) => data) : embeddedPart(path);
}

async function embeddedPart(path) {
  for (const node of document.querySelectorAll("script[data-blob]")) if (node.dataset.blob === path) return unpack(node.textContent);
  throw new Error(`this page has no ${path}`);
}
