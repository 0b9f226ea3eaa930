// What is looked at stands in the address, so that it can be kept, shared and gone back to: #/run/espl-s0/tree?prompt=12

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {  // typed by hand, with a lone percent sign
    return part;
  }
}

export function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

export function hash(parts, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(kept).toString();
  return parts.map(encodeURIComponent).join("/") + (text ? `?${text}` : "");
}

export function go(parts, query = {}) {
  location.hash = `#/${hash(parts, query)}`;
}

// Changes the address without drawing anew: for what a view has already drawn itself.
export function note(parts, query = {}) {
  history.replaceState(null, "", `#/${hash(parts, query)}`);
}
