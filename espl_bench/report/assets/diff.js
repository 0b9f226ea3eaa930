// What changed between two lists: by the longest common subsequence, first of principles, then of the words of a changed one.

function common(a, b) {
  const rows = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) rows[i][j] = a[i] === b[j] ? rows[i + 1][j + 1] + 1 : Math.max(rows[i + 1][j], rows[i][j + 1]);
  return rows;
}

// Steps { kind: "same" | "gone" | "new", text, from, to }: places in a and b where there are any.
export function steps(a, b) {
  const rows = common(a, b);
  const found = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) found.push({ kind: "same", text: a[i], from: i++, to: j++ });
    else if (j >= b.length || (i < a.length && rows[i + 1][j] >= rows[i][j + 1])) found.push({ kind: "gone", text: a[i], from: i++ });
    else found.push({ kind: "new", text: b[j], to: j++ });
  }
  return found;
}

export function words(text) {
  return text.split(/(\s+)/).filter(Boolean);
}

const LONG = 2000;

function likeness(a, b) {
  const [mine, other] = [new Set(words(a)), new Set(words(b))];
  const shared = [...mine].filter((word) => word.trim() && other.has(word)).length;
  return shared / Math.max(1, Math.min(mine.size, other.size));
}

// Steps of two lists of principles, where a principle that was reworded is one step { kind: "changed", before, text, from, to }.
export function principles(before, after) {
  const found = steps(before, after);
  const gone = found.filter((step) => step.kind === "gone");
  for (const step of found.filter((each) => each.kind === "new")) {
    const best = gone.filter((each) => !each.taken).map((each) => [likeness(each.text, step.text), each]).sort((x, y) => y[0] - x[0])[0];
    if (best && best[0] >= 0.5 && Math.max(best[1].text.length, step.text.length) < LONG * 4) {
      best[1].taken = true;
      Object.assign(step, { kind: "changed", before: best[1].text, from: best[1].from });
    }
  }
  return found.filter((step) => !step.taken);
}
