// How numbers are written, the same everywhere.

export const DASH = "–";

export function known(value) {
  return value !== null && value !== undefined;
}

export function points(share, digits = 1) {
  return known(share) ? (share * 100).toFixed(digits) : DASH;
}

export function signed(share) {
  return known(share) ? `${share < 0 ? "−" : "+"}${Math.abs(share * 100).toFixed(1)}` : DASH;
}

export function interval(low, high, write = points) {
  return known(low) && known(high) ? `${write(low)} … ${write(high)}` : DASH;
}

export function count(number) {
  if (!known(number)) return DASH;
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(number) >= size * 0.9995) {
      const scaled = number / size;
      return `${scaled.toFixed(Math.abs(scaled) < 9.995 ? 2 : Math.abs(scaled) < 99.95 ? 1 : 0)} ${unit}`;
    }
  }
  return Number.isInteger(number) ? String(number) : number.toFixed(Math.abs(number) < 10 ? 2 : 0);
}

export function duration(seconds) {
  if (!known(seconds)) return DASH;
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export function decimals(number, digits = 2) {
  return known(number) ? number.toFixed(digits).replace("-", "−") : DASH;
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
