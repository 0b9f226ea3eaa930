// Colours that keep apart for colour-blind readers (after Okabe and Ito), as variables of the style sheet so that light and dark have their own.

const COLOURS = 6;
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "16 4", "9 3 2 3 2 3"];
export const MARKERS = ["circle", "square", "triangle", "diamond", "tip", "plus"];

// The reference is grey; the others take their colours in the order of their names. When the colours begin again, dashes and markers are
// moved on against them, each by a different amount, so that thirty-six look different, and in one round each has all three of its own.
export function methodStyles(labels, reference) {
  const others = [...labels].filter((label) => label !== reference).sort();
  const styles = new Map(others.map((label, place) => [label, styleAt(place)]));
  if (labels.includes(reference)) styles.set(reference, { colour: "var(--m0)", dash: "3 2", marker: "circle" });
  return styles;
}

export function styleAt(place) {
  const round = Math.floor(place / COLOURS);
  return { colour: `var(--m${(place % COLOURS) + 1})`, dash: DASHES[(place + round) % DASHES.length], marker: MARKERS[(place + 2 * round) % MARKERS.length] };
}

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

// From dark violet (0) to yellow (1): its lightness alone tells the order, in print too.
export function scale(share) {
  const place = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1);
  const from = Math.min(VIRIDIS.length - 2, Math.floor(place));
  const mixed = VIRIDIS[from].map((channel, each) => Math.round(channel + (place - from) * (VIRIDIS[from + 1][each] - channel)));
  return `rgb(${mixed.join(" ")})`;
}

export const OUTCOME_SIGNS = { correct: "✓", wrong: "✗", no_answer: "∅", truncated: "✂", timeout: "⏱", error: "!" };

export function outcomeColour(outcome) {
  return Object.hasOwn(OUTCOME_SIGNS, outcome) ? `var(--o-${outcome.replace("_", "-")})` : "var(--soft)";
}
