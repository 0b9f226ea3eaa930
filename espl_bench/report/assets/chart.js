// Line charts with bands and stacked shares: drawn as SVG at the width there is, read with pointer or arrow keys, and as a table.

import { el, folded, responsive, say, sideways, svg } from "./dom.js";
import { known } from "./format.js";

const FEW = 14;  // points of a line that are all marked
const MARGIN = { left: 46, right: 12, top: 10, bottom: 34 };

export function ticks(low, high, wanted) {
  const span = high - low || 1;
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high + step * 1e-9; place++) found.push(Number((place * step).toPrecision(12)));
  return found;
}

function extent(values, fallback) {
  const real = values.filter(known).filter(Number.isFinite);
  return real.length ? [real.reduce((a, b) => Math.min(a, b)), real.reduce((a, b) => Math.max(a, b))] : fallback;  // there may be too many for one call
}

// Takes { label, series: [{ name, colour, dash, marker, points: [[x, y]], band: [[x, low, high]], lines: [{ name, points }], level }], x: { title, write, whole },
// y: { title, write, min, max }, height, hidden }. A level has one point and holds at any x. Stacked series are bands between running sums.
// `lines` are the single runs behind a mean. `hidden` is a set of names that the legend switches, kept by the caller.
export function lineChart(spec) {
  const cursor = { x: null };
  const hidden = spec.hidden ?? new Set();
  const shows = (each) => !hidden.has(each.name);
  const readings = spec.series.map(() => el("span", { class: "reading" }));
  const xs = [...new Set(spec.series.filter((each) => !each.level).flatMap((each) => each.points.map(([place]) => place)))].sort((a, b) => a - b);
  let redraw = () => {};
  const move = (x) => {
    cursor.x = x;
    spec.series.forEach((each, place) => { readings[place].textContent = x === null || !shows(each) ? "" : spec.y.write(valueAt(each, x)); });
    redraw();
  };
  const keys = (event) => {
    const at = xs.findIndex((x) => x === cursor.x);
    const next = { ArrowRight: Math.min(xs.length - 1, at + 1), ArrowLeft: Math.max(0, at < 0 ? xs.length - 1 : at - 1), Home: 0, End: xs.length - 1 }[event.key];
    if (next === undefined || !xs.length) return;
    event.preventDefault();
    move(xs[next]);
    say(`${spec.x.title} ${spec.x.write(xs[next])}: ${spec.series.filter(shows).map((each) => `${each.name} ${spec.y.write(valueAt(each, xs[next]))}`).join(", ")}`);
  };
  const place = responsive((width) => {
    const drawn = paint({ ...spec, series: spec.series.filter(shows) }, width, cursor, xs, move);
    redraw = drawn.mark;
    return [drawn.node];
  }, { class: "plot", tabindex: "0", role: "application", "aria-label": `${spec.label}. Arrow keys read the values.`, on: { keydown: keys, blur: () => move(null), pointerleave: () => move(null) } });
  return el("figure", { class: "chart" }, el("figcaption", {}, spec.title ?? spec.label), legend(spec, readings, hidden, place), place, folded("as a table", false, valueTable(spec, xs)));
}

// Names with their looks. Where lines can be told from one another by switching some off, each name is a switch; pointed at, it stands out.
function legend(spec, readings, hidden, place) {
  if (spec.series.length < 2 || spec.series.some((each) => each.stacked)) return el("ul", { class: "legend" }, spec.series.map((each, at) => el("li", {}, swatch(each), el("span", {}, each.name), readings[at])));
  const emphasise = (name) => { for (const node of place.querySelectorAll("[data-series]")) node.classList.toggle("faint", name !== null && node.dataset.series !== name); };
  const buttons = spec.series.map((each) => {
    const flip = () => show(each.name, hidden.has(each.name));
    return el("button", { type: "button", class: "switch", "aria-pressed": String(!hidden.has(each.name)), on: { click: flip, pointerenter: () => emphasise(each.name), pointerleave: () => emphasise(null), focus: () => emphasise(each.name), blur: () => emphasise(null) } }, swatch(each), each.name);
  });
  const show = (name, shown) => {
    spec.series.forEach((each, at) => {
      if (name !== null && each.name !== name) return;
      if (shown) hidden.delete(each.name);
      else hidden.add(each.name);
      buttons[at].setAttribute("aria-pressed", String(shown));
    });
    place.redraw();
    say(`${spec.series.filter((each) => !hidden.has(each.name)).length} of ${spec.series.length} lines shown`);
  };
  const every = spec.series.length < 5 ? null : el("li", { class: "every" }, ["all", "none"].map((text) => el("button", { type: "button", class: "switch", on: { click: () => show(null, text === "all") } }, text)));
  return el("ul", { class: "legend" }, spec.series.map((each, at) => el("li", {}, buttons[at], readings[at])), every);
}

export function swatch({ colour, dash, stacked, marker, level }) {
  const mark = stacked ? svg("rect", { width: 14, height: 10, y: 1, fill: colour }) : [svg("line", { x1: 0, x2: 34, y1: 6, y2: 6, stroke: colour, "stroke-width": 2.2, "stroke-dasharray": dash ?? "" }), marker && !level ? markerAt(marker, 17, 6, 4, colour) : null];
  return svg("svg", { class: "swatch", width: stacked ? 16 : 36, height: 12, "aria-hidden": "true" }, mark);
}

// Outlines around the origin, of about the same area.
const OUTLINES = { square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]], triangle: [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]], diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]], tip: [[0, 1.2], [1.1, -0.9], [-1.1, -0.9]] };

function markerAt(kind, x, y, radius, colour) {
  if (kind === "circle") return svg("circle", { cx: x, cy: y, r: radius, fill: colour });
  if (kind === "plus") return svg("path", { d: `M${x - radius} ${y}h${2 * radius}M${x} ${y - radius}v${2 * radius}`, stroke: colour, "stroke-width": radius * 0.7, fill: "none" });
  return svg("polygon", { points: OUTLINES[kind].map(([dx, dy]) => `${(x + dx * radius).toFixed(1)},${(y + dy * radius).toFixed(1)}`).join(" "), fill: colour });
}

function valueAt(series, x) {
  if (series.level) return series.points[0]?.[1];
  if (series.stacked) return series.points.find(([place]) => place === x)?.[1];
  const { points } = series;
  if (!points.length || x < points[0][0] || x > points.at(-1)[0]) return null;
  const after = points.findIndex(([place]) => place >= x);
  const [x1, y1] = points[after];
  if (x1 === x || after === 0) return y1;
  const [x0, y0] = points[after - 1];
  return known(y0) && known(y1) ? y0 + ((x - x0) / (x1 - x0)) * (y1 - y0) : null;
}

function paint(spec, width, cursor, xs, move) {
  const height = spec.height ?? 260;
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const [x0, x1] = extent([...xs, ...spec.series.flatMap((each) => each.lines ?? []).flatMap((line) => line.points.map(([x]) => x))], [0, 1]);
  const all = spec.series.flatMap((each) => [...(each.band ?? each.points.map(([x, y]) => [x, y, y])).flatMap(([, low, high]) => [low, high]), ...(each.lines ?? []).flatMap((line) => line.points.map(([, y]) => y))]);
  const [least, most] = extent([...all, ...spec.series.filter((each) => !each.stacked).flatMap((each) => each.points.map(([, y]) => y))], [0, 1]);
  const slack = most > least ? (most - least) * 0.05 : Math.abs(most) * 0.05 || 0.5;
  const y0 = spec.y.min ?? least - slack;
  const y1 = Math.max(spec.y.max ?? most + slack, y0 + 1e-9);
  const px = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (right - left);
  const py = (y) => bottom - ((y - y0) / (y1 - y0)) * (bottom - top);
  const cross = svg("line", { class: "cross", y1: top, y2: bottom });
  const node = svg("svg", { width, height, role: "img", "aria-label": spec.label },
    ticks(y0, y1, height / 65).map((y) => [svg("line", { class: "grid", x1: left, x2: right, y1: py(y), y2: py(y) }), svg("text", { class: "tick", x: left - 7, y: py(y) + 4, "text-anchor": "end" }, (spec.y.tick ?? spec.y.write)(y))]),
    ticks(x0, x1, Math.max(2, width / 90)).filter((x) => !spec.x.whole || Number.isInteger(x)).map((x) => svg("text", { class: "tick", x: px(x), y: bottom + 16, "text-anchor": px(x) > right - 16 ? "end" : "middle" }, spec.x.write(x))),
    svg("text", { class: "axis", x: right, y: height - 3, "text-anchor": "end" }, spec.x.title),
    spec.series.filter((each) => each.band).map((each) => svg("path", { class: each.stacked ? "stack" : "band", "data-series": each.name, fill: each.colour, d: bandPath(each.band, px, py) })),
    spec.series.filter((each) => !each.stacked).map((each) => svg("g", { "data-series": each.name }, seedLines(each, px, py), lineNodes(each, px, py, left, right))),
    cross);
  node.addEventListener("pointermove", (event) => {
    const at = x0 + ((event.offsetX - left) / (right - left)) * (x1 - x0);
    if (xs.length) move(xs.reduce((best, x) => (Math.abs(x - at) < Math.abs(best - at) ? x : best)));
  });
  const mark = () => {
    cross.setAttribute("visibility", cursor.x === null ? "hidden" : "visible");
    if (cursor.x !== null) for (const end of ["x1", "x2"]) cross.setAttribute(end, px(cursor.x));
  };
  mark();
  return { node, mark };
}

function lineNodes(each, px, py, left, right) {
  const attributes = { stroke: each.colour, "stroke-dasharray": each.dash ?? "", class: "line" };
  if (each.level) return each.points.map(([, y]) => svg("line", { ...attributes, x1: left, x2: right, y1: py(y), y2: py(y) }));
  const real = each.points.filter(([, y]) => known(y));
  const every = real.length <= FEW ? 1 : each.marker ? Math.ceil(real.length / 8) : Infinity;
  const dots = every === Infinity ? [] : real.filter((_, at) => at % every === 0).map(([x, y]) => markerAt(each.marker ?? "circle", px(x), py(y), each.marker ? 3.6 : 2.4, each.colour));
  return [svg("path", { ...attributes, d: linePath(real, px, py) }), dots];
}

function linePath(points, px, py) {
  return points.map(([x, y], at) => `${at ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
}

function seedLines(each, px, py) {
  return (each.lines ?? []).map((line) => svg("path", { class: "line seed", stroke: each.colour, d: linePath(line.points, px, py) }, svg("title", {}, line.name)));
}

function bandPath(band, px, py) {
  const up = band.map(([x, , high], at) => `${at ? "L" : "M"}${px(x).toFixed(1)} ${py(high).toFixed(1)}`);
  const down = [...band].reverse().map(([x, low]) => `L${px(x).toFixed(1)} ${py(low).toFixed(1)}`);
  return `${up.join("")}${down.join("")}Z`;
}

function valueTable(spec, xs) {
  const shown = xs.length > 200 ? xs.filter((_, place) => place % Math.ceil(xs.length / 200) === 0) : xs;
  return sideways(`${spec.label}, values`, el("table", { class: "values", "aria-label": `${spec.label}, values` },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, spec.x.title), spec.series.map((each) => el("th", { scope: "col" }, each.name)))),
    el("tbody", {}, shown.map((x) => el("tr", {}, el("th", { scope: "row" }, spec.x.write(x)), spec.series.map((each) => el("td", {}, spec.y.write(valueAt(each, x)))))))));
}

// Shares that add up to one, as stacked bands; `rows` has for each x an object name → share.
export function stackedSeries(xs, rows, names, colourOf) {
  const floor = rows.map(() => 0);
  return names.map((each) => {
    const band = xs.map((x, place) => [x, floor[place], (floor[place] += rows[place][each] ?? 0)]);
    return { name: each.replace("_", " "), colour: colourOf(each), stacked: true, band, points: xs.map((x, place) => [x, rows[place][each] ?? 0]) };
  });
}
