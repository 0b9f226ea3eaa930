// How numbers are written, the same everywhere.

export const DASH = "–";

export function known(value) {
  return value !== null && value !== undefined;
}

// As `fixed` in utils/formatting.py: the nearest, and of two the even one, where toFixed takes the larger. Only a number with that few
// binary digits lies between two, and what is computed from it here is exact. What rounds to zero has no sign.
export function fixed(number, digits = 1) {
  const size = Math.abs(number);
  const scale = 10 ** digits;
  const below = Math.floor(size * scale);
  const between = Number.isInteger(size * 2 ** (digits + 1)) && size * scale - below === 0.5;
  const text = (between ? (below + (below % 2)) / scale : size).toFixed(digits);
  return `${number < 0 && Number(text) ? "-" : ""}${text}`;
}

export function points(share, digits = 1) {
  return known(share) ? fixed(share * 100, digits) : DASH;
}

export function signed(share) {
  return known(share) ? `${share < 0 ? "−" : "+"}${fixed(Math.abs(share) * 100)}` : DASH;
}

export function interval(low, high, write = points) {
  return known(low) && known(high) ? `${write(low)} … ${write(high)}` : DASH;
}

export function count(number) {
  if (!known(number)) return DASH;
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(number) >= size * 0.9995) {
      const scaled = number / size;
      return `${fixed(scaled, Math.abs(scaled) < 9.995 ? 2 : Math.abs(scaled) < 99.95 ? 1 : 0)} ${unit}`;
    }
  }
  return Number.isInteger(number) ? String(number) : fixed(number, Math.abs(number) < 10 ? 2 : 0);
}

// A mean number of tokens or rollouts, as in a table: whole.
export function tally(number) {
  return known(number) && Math.abs(number) < 999.5 ? fixed(number, 0) : count(number);
}

export function duration(seconds) {
  if (!known(seconds)) return DASH;
  if (seconds < 60) return `${fixed(seconds, 0)} s`;
  return seconds < 7200 ? `${fixed(seconds / 60)} min` : `${fixed(seconds / 3600)} h`;
}

export function decimals(number, digits = 2) {
  return known(number) ? fixed(number, digits).replace("-", "−") : DASH;
}

// A p-value that would look like 0 is written as a bound.
export function pValue(p) {
  return known(p) && p < 0.001 ? "< 0.001" : decimals(p, 3);
}

export function whole(number) {
  return known(number) ? number.toLocaleString("en") : DASH;
}

export function plural(number, noun) {
  return `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
}

// One line without control characters or signs that reorder a line: for rows and names. Texts themselves are shown as they are.
export function line(text, length = 200) {
  const flat = text.slice(0, length * 2).replace(/\s+/g, " ").replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, "").trim();
  return flat.length > length ? `${flat.slice(0, length - 1)}…` : flat;
}
