// Elements from plain values. Whatever is shown becomes a text node: no markup is ever parsed, so nothing that a model wrote can be one.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "style") for (const [property, each] of Object.entries(value)) node.style.setProperty(property, each);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return node;
}

export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

export function link(hash, props, ...children) {
  return el("a", { href: `#/${hash}`, ...props }, ...children);
}

export function say(text) {
  document.getElementById("status").textContent = text;
}

// Draws again whenever the width of its place changes, and when its `redraw` is called.
export function responsive(draw, props = {}) {
  const place = el("div", props);
  let width = 0;
  place.redraw = () => { if (width) place.replaceChildren(...draw(width)); };
  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now && now !== width) {
      width = now;
      place.redraw();
    }
  }).observe(place);
  return place;
}

// What may be wider than the window: it scrolls sideways, and shows on which side there is more.
export function sideways(label, ...content) {
  const box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label, on: { scroll: () => look() } }, content);
  const frame = el("div", { class: "sideways" }, el("p", { class: "hint", "aria-hidden": "true" }, "more to the right →"), box);
  const look = () => {
    frame.classList.toggle("before", box.scrollLeft > 1);
    frame.classList.toggle("after", box.scrollWidth - box.clientWidth - box.scrollLeft > 1);
  };
  new ResizeObserver(look).observe(box);
  return frame;
}

// One of several choices, as a row of radio buttons.
export function choice(name, label, options, chosen, onChange) {
  const buttons = options.map(({ value, text, title, disabled }) => {
    const id = `${name}-${value}`;
    const input = el("input", { type: "radio", name, id, value, checked: value === chosen, disabled, on: { change: () => onChange(value) } });
    return el("label", { for: id, title, class: disabled ? "off" : null }, input, el("span", {}, text));
  });
  return el("fieldset", { class: "choice" }, el("legend", {}, label), buttons);
}

export function notice(...text) {
  return el("p", { class: "notice" }, text);
}

export function folded(summary, open, ...content) {
  return el("details", { open, class: "folded" }, el("summary", {}, summary), content);
}
