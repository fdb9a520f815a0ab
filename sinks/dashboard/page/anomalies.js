// Episodes as a table: what, where, how bad, since when, and why.
import { Failure, get, poll } from "./api.js";
import { empty, fill, h, table } from "./dom.js";
import { count, deviceLink, duration, severity, timeElement, withUnit, words } from "./format.js";
import { store } from "./store.js";

const PAGE = 50;

/** Rows of `/anomalies` as a table. */
export function anomalyTable(rows, { withDevice = true } = {}) {
  const heads = [{ text: "Severity", class: "c-severity" }, { text: "Kind", class: "c-kind" }, ...(withDevice ? [{ text: "Device", class: "c-device" }] : []),
    { text: "Metric", class: "c-metric" }, { text: "Value", class: "c-value" }, { text: "Expected", class: "c-expected" }, { text: "Opened", class: "c-opened" }, { text: "Lasted", class: "c-lasted" }, { text: "Why", class: "c-why" }];
  return table("Anomalies", heads, rows.map((row) => [
    severity(row.severity),
    [h("b", {}, words(row.kind)), row.open ? h("span", { class: "open-mark" }, "open") : null],
    ...(withDevice ? [[deviceLink(row.device), row.name ? h("small", {}, row.name) : null]] : []),
    words(row.metric), withUnit(row.value, row.unit), expected(row), timeElement(row.opened),
    duration((row.cleared ?? Math.max(store.now(), row.opened)) - row.opened), row.reason]), "anomaly-table");
}

function expected(row) {
  if (row.expected === null) return "–";
  const range = row.lower !== null && row.upper !== null && row.lower < row.upper ? `${withUnit(row.lower, "")} to ${withUnit(row.upper, "")}` : null;
  return [withUnit(row.expected, row.unit), range ? h("small", {}, range) : null];
}

export function anomaliesView(root, params) {
  const wish = { state: params.get("state") ?? "", severity: params.get("severity") ?? "", search: params.get("search") ?? "" };
  let older = [], next = null, waiting = null;
  const search = h("input", { id: "search", type: "search", value: wish.search, placeholder: "Search device, name, type, place", "aria-label": "Search anomalies", "aria-keyshortcuts": "/", autocomplete: "off",
    oninput: () => { clearTimeout(waiting); waiting = setTimeout(() => { wish.search = search.value; changed(); }, 250); } });
  const states = select("state", "Filter by state", [["", "Open and past"], ["OPENED", "Open"], ["CLEARED", "Past"]]);
  const severities = select("severity", "Filter by severity", [["", "Any severity"], ["CRITICAL", "Critical"], ["WARNING", "Warning"], ["INFO", "Info"]]);
  const shown = h("span", { class: "count", role: "status" });
  const list = h("div", { class: "wide" });
  const more = h("button", { type: "button", class: "load", onclick: loadOlder }, "Load older ones");
  fill(root, h("h1", {}, "Anomalies"),
    h("section", { class: "card" }, h("div", { class: "filters" }, h("div", { class: "search" }, search, h("kbd", { "aria-hidden": "true" }, "/")), states, severities, shown), list, more));

  function select(name, label, options) {
    return h("select", { "aria-label": label, onchange: (event) => { wish[name] = event.target.value; changed(); } }, options.map(([value, text]) => h("option", { value, selected: wish[name] === value }, text)));
  }
  function changed() {
    older = [];
    next = null;
    const kept = new URLSearchParams(Object.entries(wish).filter(([, value]) => value));
    history.replaceState(null, "", `#/anomalies${kept.size ? `?${kept}` : ""}`);
    poller.now();
  }
  let newest = [];
  function draw() {
    const ids = new Set(newest.map((row) => row.id));
    const rows = [...newest, ...older.filter((row) => !ids.has(row.id))];
    more.hidden = !next;
    shown.textContent = rows.length ? `${count(rows.length, "anomaly", "anomalies")}${next ? ", and older ones" : ""}` : "";
    fill(list, rows.length ? anomalyTable(rows) : empty(Object.values(wish).some(Boolean) ? "No anomaly fits." : "No anomaly so far.", Object.values(wish).some(Boolean) ? "Widen the filters." : "A device is judged after its first readings. To see one now, inject a fault.", h("a", { href: "#/inject" }, "Inject a fault")));
  }
  async function look() {
    const asked = JSON.stringify(wish);
    const page = await get("/anomalies", { ...wish, limit: PAGE }).catch((error) => error);
    if (asked !== JSON.stringify(wish)) return;
    if (page instanceof Failure) { if (!newest.length) fill(list, empty(`The anomalies cannot be had now: ${page.message}.`, page.remedy)); return; }
    const ids = new Set(page.rows.map((row) => row.id));
    if (older.length) older = [...newest.filter((row) => !ids.has(row.id)), ...older]; // what newer ones pushed out
    newest = page.rows;
    if (!older.length) next = page.next;
    draw();
  }
  async function loadOlder() {
    const asked = JSON.stringify(wish);
    more.disabled = true;
    const page = await get("/anomalies", { ...wish, limit: PAGE, cursor: next }).catch((error) => error);
    more.disabled = false;
    if (page instanceof Failure || asked !== JSON.stringify(wish)) return;
    older.push(...page.rows);
    next = page.next;
    draw();
  }
  const poller = poll(look, 3000);
  more.hidden = true;
  return () => { clearTimeout(waiting); poller.stop(); };
}
