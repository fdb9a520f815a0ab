// Numbers, times and names as people read them. Pure.
import { h, icon } from "./dom.js";

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const SHORT = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 });
const WHOLE = new Intl.NumberFormat();

export function number(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 ? WHOLE.format(Math.round(value)) : SHORT.format(value);
}

/** Readings a second, to the whole where there are some. */
export function perSecond(value) {
  return value >= 10 ? WHOLE.format(Math.round(value)) : number(value);
}

export function withUnit(value, unit) {
  return value === null || value === undefined ? "–" : unit && unit !== "1" ? `${number(value)} ${unit}` : number(value);
}

export function count(value, one, many = `${one}s`) {
  return `${WHOLE.format(value)} ${value === 1 ? one : many}`;
}

export function percent(share) {
  if (share === null || share === undefined) return "–";
  return share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

/** A length of time: the two largest units. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10_000) return `${SHORT.format(Math.max(0, Math.round(ms / 100) / 10))} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([length]) => seconds >= length);
  const [length, name] = parts[first];
  const [below, small] = parts[Math.min(first + 1, 3)];
  const rest = Math.floor((seconds % length) / below);
  return `${Math.floor(seconds / length)} ${name}${rest && below !== length ? ` ${rest} ${small}` : ""}`;
}

/** In the viewer's zone: the clock alone for today. */
export function time(ms, now = Date.now()) {
  const date = new Date(ms), today = new Date(now);
  if (date.toDateString() === today.toDateString()) return CLOCK.format(date);
  return `${(date.getFullYear() === today.getFullYear() ? DAY : YEAR).format(date)}, ${CLOCK.format(date)}`;
}

export function utc(ms) {
  return `${new Date(ms).toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

/** A time in the viewer's zone, UTC on hover. */
export function timeElement(ms) {
  return ms === null || ms === undefined ? "–" : h("time", { datetime: new Date(ms).toISOString(), title: utc(ms) }, time(ms));
}

export function ago(ms, now) {
  return now - ms < 1000 ? "now" : `${duration(now - ms)} ago`;
}

export function words(name) {
  return name.replaceAll("_", " ");
}

const NAMES = { CRITICAL: "Critical", WARNING: "Warning", INFO: "Info" };

/** A severity as shape, colour and word; the word is for ears alone where another text stands for it. */
export function severity(name, text) {
  const word = NAMES[name] ?? name;
  const said = text === undefined ? ` ${word}` : [h("span", { class: "hidden" }, `${word} `), text === "" ? null : ` ${text}`];
  return h("span", { class: `severity severity-${name.toLowerCase()}` }, icon(name), said);
}

export function deviceLink(id, text = id) {
  return h("a", { href: deviceHash(id), class: "device-link" }, text);
}

export function deviceHash(id) {
  return `#/device/${encodeURIComponent(id)}`;
}
