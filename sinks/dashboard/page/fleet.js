// The fleet: counts, search and filters, a table of any length of which only what is seen is drawn, the latest anomalies.
import { get, poll } from "./api.js";
import { empty, fill, h, icon, say, tile } from "./dom.js";
import { ago, count, deviceHash, number, perSecond, percent, severity, timeElement, utc, words } from "./format.js";
import { store } from "./store.js";

const ROW = 38; // px, as style.css has it
const BEYOND = 8; // rows drawn above and below what is seen

/** The devices that fit: text in id, name, type or place, and exact type, place and state. Pure. */
export function choose(devices, { search = "", type = "", place = "", state = "" }) {
  const wanted = search.trim().toLowerCase().split(/\s+/).filter(Boolean);
  return devices.filter((device) =>
    (!type || device.type === type) && (!place || device.place === place) && (!state || inState(device, state))
    && wanted.every((word) => device.text.includes(word)));
}

function inState(device, state) {
  if (state === "trouble") return device.rank >= 2;
  if (state === "calm") return device.rank === 0;
  if (state === "warming") return device.warming !== null;
  return device[state] > 0;
}

const COLLATOR = new Intl.Collator(undefined, { numeric: true });
const ORDERS = {
  trouble: (a, b) => b.rank - a.rank || b.critical - a.critical || b.warning - a.warning || b.opened - a.opened || COLLATOR.compare(a.id, b.id),
  id: (a, b) => COLLATOR.compare(a.id, b.id),
  name: (a, b) => COLLATOR.compare(a.name, b.name) || COLLATOR.compare(a.id, b.id),
  type: (a, b) => COLLATOR.compare(a.type, b.type) || ORDERS.trouble(a, b),
  place: (a, b) => COLLATOR.compare(a.place, b.place) || ORDERS.trouble(a, b),
};

export function order(devices, by) {
  return [...devices].sort(ORDERS[by] ?? ORDERS.trouble);
}

const COLUMNS = [["trouble", "State"], ["id", "Device"], ["name", "Name"], ["type", "Type"], ["place", "Place"], [null, "Last reading"]];
const STATES = [["", "Any state"], ["trouble", "With open anomalies"], ["critical", "Critical"], ["warning", "Warning"], ["info", "Info"], ["warming", "Warming up"], ["calm", "Calm"]];

export function fleetView(root, params) {
  const wish = { search: params.get("search") ?? "", type: params.get("type") ?? "", place: params.get("place") ?? "", state: params.get("state") ?? "" };
  let by = params.get("by") ?? "trouble", rows = [], newest = {}, drawn = "", waiting = null;

  const tiles = h("section", { class: "tiles", "aria-label": "The fleet at a glance" });
  const search = h("input", { id: "search", type: "search", value: wish.search, placeholder: "Search id, name, type, place", "aria-label": "Search devices", "aria-keyshortcuts": "/", autocomplete: "off", spellcheck: "false",
    oninput: () => { wish.search = search.value; changed(); }, onkeydown: (event) => { if (event.key === "ArrowDown") { event.preventDefault(); focusRow(0); } if (event.key === "Enter" && rows.length) location.hash = deviceHash(rows[0].id); } });
  const selects = { type: select("type", "Filter by type"), place: select("place", "Filter by place"), state: select("state", "Filter by state") };
  const shown = h("span", { class: "count", role: "status", "aria-live": "polite" });
  const body = h("tbody");
  const heads = COLUMNS.map(([key, text]) => h("th", { scope: "col", class: `column-${key ?? "last"}` }, key ? h("button", { type: "button", onclick: () => { by = key; changed(); } }, text) : text));
  const grid = h("table", { class: "fleet", "aria-label": "Devices" }, h("thead", {}, h("tr", {}, heads)), body);
  const scroller = h("div", { class: "scroller", onscroll: () => requestAnimationFrame(draw), onkeydown: onKey }, grid);
  const nothing = h("div", { class: "nothing" });
  const feed = h("ol", { class: "feed" });
  fill(root,
    h("h1", { class: "hidden" }, "Fleet"), intro(), tiles,
    h("div", { class: "columns" },
      h("section", { class: "card fleet-card", "aria-label": "Devices" },
        h("div", { class: "filters" }, h("div", { class: "search" }, search, h("kbd", { "aria-hidden": "true" }, "/")), selects.type, selects.place, selects.state, shown),
        scroller, nothing),
      h("section", { class: "card feed-card", "aria-labelledby": "feed-title" }, h("h2", { id: "feed-title" }, "Latest anomalies"), feed, h("a", { class: "more", href: "#/anomalies" }, "All anomalies"))));

  function select(name, label) {
    return h("select", { "aria-label": label, onchange: (event) => { wish[name] = event.target.value; changed(); } });
  }

  function offer() {
    const options = { type: [["", "Any type"]], place: [["", "Any place"]], state: STATES };
    for (const name of ["type", "place"]) {
      const values = [...new Set(store.devices.map((device) => device[name]))].filter(Boolean).sort(COLLATOR.compare);
      options[name].push(...values.map((value) => [value, words(value)]));
    }
    for (const [name, element] of Object.entries(selects)) {
      fill(element, options[name].map(([value, text]) => h("option", { value, selected: wish[name] === value }, text)));
    }
  }

  function changed() {
    const kept = new URLSearchParams(Object.entries({ ...wish, by: by === "trouble" ? "" : by }).filter(([, value]) => value));
    history.replaceState(null, "", `#/${kept.size ? `?${kept}` : ""}`);
    scroller.scrollTop = 0;
    refresh();
  }

  function refresh() {
    if (!store.loaded) { fill(nothing, store.failure ? null : h("p", { class: "loading" }, "Loading the fleet …")); return; }
    rows = order(choose(store.devices, wish), by);
    heads.forEach((head, at) => { if (COLUMNS[at][0]) head.setAttribute("aria-sort", COLUMNS[at][0] === by ? (by === "trouble" ? "descending" : "ascending") : "none"); });
    const all = store.devices.length;
    say(shown, rows.length === all ? count(all, "device") : `${number(rows.length)} of ${count(all, "device")}`);
    fill(nothing, !all ? noDevices() : rows.length ? null : empty("No device fits.", "Search looks at id, name, type and place.", h("button", { type: "button", onclick: clear }, "Clear filters")));
    fill(tiles, fleetTiles());
    grid.setAttribute("aria-rowcount", rows.length + 1);
    drawn = "";
    draw();
  }

  function clear() {
    Object.assign(wish, { search: "", type: "", place: "", state: "" });
    search.value = "";
    offer();
    changed();
    search.focus();
  }

  function seen() {
    const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - BEYOND);
    return [first, Math.min(rows.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW) + BEYOND)];
  }

  function draw() {
    const [first, last] = seen();
    const part = rows.slice(first, last);
    const what = JSON.stringify([first, part.map((device) => [device.id, device.critical, device.warning, device.info, device.kind, device.warming, newest[device.id]]), Math.floor(store.now() / 5000)]);
    if (what === drawn) return;
    drawn = what;
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.at : null;
    if (part.some((device) => !(device.id in newest))) soon();
    fill(body, spacer(first), part.map((device, at) => row(device, first + at)), spacer(rows.length - last));
    if (focused !== null) body.querySelector(`a[data-at="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** Times of rows that came into sight, without a question for every pixel that is scrolled. */
  function soon() {
    waiting ??= setTimeout(() => { waiting = null; lookAtTimes.now(); }, 250);
  }

  function spacer(count_) {
    if (!count_) return null;
    const element = h("tr", { "aria-hidden": "true" }, h("td"));
    element.style.height = `${count_ * ROW}px`;
    return element;
  }

  function row(device, at) {
    const last = newest[device.id];
    return h("tr", { "aria-rowindex": at + 2, onclick: (event) => { if (!event.target.closest("a")) location.hash = deviceHash(device.id); } },
      h("td", { class: "column-trouble" }, stateOf(device)),
      h("th", { scope: "row", class: "column-id" }, h("a", { href: deviceHash(device.id), "data-at": at }, device.id)),
      h("td", { class: "column-name" }, device.name), h("td", { class: "column-type" }, words(device.type)), h("td", { class: "column-place" }, device.place),
      h("td", { class: "column-last" }, last ? h("span", { title: utc(last) }, ago(last, store.now())) : ""));
  }

  function onKey(event) {
    const at = Number(document.activeElement?.dataset?.at ?? NaN);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 12, PageUp: -12 }[event.key];
    if (Number.isNaN(at) || !step) return;
    event.preventDefault();
    if (at + step < 0) search.focus(); else focusRow(Math.min(rows.length - 1, at + step));
  }

  function focusRow(at) {
    if (at < 0 || at >= rows.length) return;
    const top = at * ROW, room = scroller.clientHeight - ROW * 2;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top > scroller.scrollTop + room) scroller.scrollTop = top - room;
    draw();
    body.querySelector(`a[data-at="${at}"]`)?.focus({ preventScroll: true });
  }

  const lookAtTimes = poll(async () => {
    const [first, last] = seen();
    const device = rows.slice(first, Math.min(last, first + 60)).map((one) => one.id).sort();
    if (!device.length) return;
    const found = await get("/latest", { device }).catch(() => null);
    if (!found) return;
    newest = { ...Object.fromEntries(device.map((id) => [id, null])), ...found.newest };
    draw();
  }, 5000);
  const lookAtAnomalies = poll(async () => {
    const found = await get("/anomalies", { limit: 12 }).catch(() => null);
    if (found) fill(feed, found.rows.length ? found.rows.map(feedItem) : h("li", { class: "quiet" }, "None yet. A device is judged after its first readings; a fault that you inject shows here."));
  }, 3000);
  const onFleet = () => { offer(); refresh(); lookAtTimes.now(); };
  const onChange = () => refresh();
  store.addEventListener("fleet", onFleet);
  store.addEventListener("change", onChange);
  offer();
  refresh();
  return () => { clearTimeout(waiting); lookAtTimes.stop(); lookAtAnomalies.stop(); store.removeEventListener("fleet", onFleet); store.removeEventListener("change", onChange); };
}

function feedItem(row) {
  return h("li", { class: row.open ? "" : "over" },
    h("a", { href: deviceHash(row.device) },
      h("span", { class: "feed-head" }, severity(row.severity, ""), h("b", {}, words(row.kind)), h("span", { class: "feed-time" }, timeElement(row.opened))),
      h("span", { class: "feed-where" }, `${row.device} · ${words(row.metric)}${row.open ? "" : " · over"}`)));
}

/** What a device's state is: open anomalies by severity, warming up, or calm. */
export function stateOf(device) {
  const parts = ["critical", "warning", "info"].filter((name) => device[name]).map((name) => severity(name.toUpperCase(), String(device[name])));
  if (parts.length) return h("span", { class: "states" }, parts, device.kind ? h("span", { class: "kind" }, words(device.kind)) : null);
  if (device.warming === 0) return h("span", { class: "warming" }, icon("WARMING"), " No readings yet");
  if (device.warming !== null) return h("span", { class: "warming", title: "Too few readings yet: nothing is judged" }, icon("WARMING"), ` Warming ${device.warming}/${store.state?.warmup ?? ""}`);
  return h("span", { class: "calm" }, icon("CALM"), " Calm");
}

function fleetTiles() {
  const sum = { critical: 0, warning: 0, info: 0, warming: 0, trouble: 0 };
  for (const device of store.devices) {
    for (const name of ["critical", "warning", "info"]) sum[name] += device[name];
    sum.warming += device.warming !== null ? 1 : 0;
    sum.trouble += device.rank >= 2 ? 1 : 0;
  }
  return [
    tile("Devices", number(store.devices.length), sum.warming ? `${number(sum.warming)} warming up` : "all judged"),
    tile("With open anomalies", number(sum.trouble), store.devices.length ? `${percent(sum.trouble / store.devices.length)} of the fleet` : ""),
    tile([icon("CRITICAL"), " Critical"], number(sum.critical), "open", sum.critical ? "is-critical" : ""),
    tile([icon("WARNING"), " Warning"], number(sum.warning), "open", sum.warning ? "is-warning" : ""),
    tile([icon("INFO"), " Info"], number(sum.info), "open", sum.info ? "is-info" : ""),
    tile("Readings", store.rate === null ? "…" : `${perSecond(store.rate)}/s`, "stored"),
  ];
}

function noDevices() {
  return empty("No device is described yet.", "Start some with `sigmawatch up`, or `sigmawatch simulate`; they show here within seconds.");
}

const INTRO = "sigmawatch-intro";

function intro() {
  if (localStorage.getItem(INTRO)) return null;
  const note = h("p", { class: "intro" },
    "Each device is compared with its own past. What leaves that is an anomaly: it is listed here and marked on the device’s chart. ",
    h("a", { href: "#/inject" }, "Inject a fault"), " into a device to watch one being caught. ",
    h("button", { type: "button", class: "quiet-button", "aria-label": "Dismiss this note", onclick: () => { localStorage.setItem(INTRO, "1"); note.remove(); } }, "Got it"));
  return note;
}
