// Elements by function. Whatever a device says of itself goes in as text: nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `on*` are listeners, `class`, `aria-*` and the like attributes; null and false leave out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put children into an element in place of what is there; nothing is touched where that is the same already. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Set text only where it differs: screen readers and the layout are left in peace. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SHAPES = {
  CRITICAL: ["M5.2 1h5.6L15 5.2v5.6L10.8 15H5.2L1 10.8V5.2z", "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"],
  WARNING: ["M8 1.4 15.4 14.4H.6z", "M8 6v4M8 12v.6"],
  INFO: ["M8 1a7 7 0 1 0 .01 0z", "M8 7.2V11.4M8 4.6v.6"],
  CALM: [null, "M3.4 8.6l3 3 6.2-7"],
  WARMING: [null, "M4.5 2h7M4.5 14h7M5.2 2c0 3 2 4.2 2.8 6-.8 1.8-2.8 3-2.8 6M10.800 2c0 3-2 4.200-2.800 6 .8 1.800 2.800 3 2.800 6"],
  FAULT: [null, "M9.500 1 3.500 9h4l-1 6 6-8h-4z"],
  SUN: [null, "M8 5a3 3 0 1 0 .01 0zM8 .8v1.700M8 13.500v1.700M.8 8h1.700M13.500 8h1.700M2.900 2.900l1.200 1.200M11.900 11.900l1.200 1.200M2.900 13.100l1.200-1.200M11.900 4.100l1.200-1.200"],
  MOON: [null, "M13.500 9.600A6 6 0 1 1 6.400 2.500a4.800 4.800 0 0 0 7.100 7.100z"],
  AUTO: [null, "M8 1.500a6.500 6.500 0 1 0 .01 0zM8 1.500v13"],
};

/** An icon; severities differ in shape, not only in colour. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `icon icon-${name.toLowerCase()}`);
  svg.setAttribute("aria-hidden", "true");
  const [solid, stroke] = SHAPES[name] ?? SHAPES.INFO;
  for (const [path, part] of [[solid, "solid"], [stroke, solid ? "cut" : "line"]]) {
    if (!path) continue;
    const drawn = document.createElementNS(SVG, "path");
    drawn.setAttribute("d", path);
    drawn.setAttribute("class", part);
    svg.append(drawn);
  }
  return svg;
}

/** A table of plain cells with its heads; `rows` are arrays of children. */
export function table(caption, heads, rows, kind = "") {
  return h("table", { class: `plain ${kind}` },
    h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: head.class }, head.text ?? head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) =>
      h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: heads[at].class }, cell))))));
}

/** What a view says where it has nothing to show: what is so, and what to do. */
export function empty(title, remedy, ...more) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), remedy ? h("p", {}, remedy) : null, more);
}

export function tile(label, value, note = "", kind = "") {
  return h("div", { class: `tile ${kind}` }, h("span", { class: "tile-label" }, label),
    h("span", { class: "tile-value" }, value), note ? h("span", { class: "tile-note" }, note) : null);
}
