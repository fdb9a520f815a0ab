// One device: what it is, its diagrams, its anomalies; and a fault for it.
import { Failure, get, poll } from "./api.js";
import { anomalyTable } from "./anomalies.js";
import { DeviceCharts } from "./charts.js";
import { empty, fill, h, icon } from "./dom.js";
import { duration, timeElement, words } from "./format.js";
import { stateOf } from "./fleet.js";
import { faultPanel } from "./inject.js";
import { store } from "./store.js";

const SPANS = [["1 min", 60], ["5 min", 300], ["15 min", 900], ["1 h", 3600], ["6 h", 21_600], ["1 day", 86_400], ["7 days", 604_800], ["All", null]];

/** How often a diagram is asked anew, ms: as often as it moves by a pixel or two. Pure. */
export function refreshMs(spanMs, pixels) {
  return Math.min(60_000, Math.max(1000, (2 * (spanMs ?? 3_600_000)) / pixels));
}

export function deviceView(root, params, id) {
  const title = h("div", { class: "device-title" });
  const lines = h("div", { class: "device-lines" });
  const panel = h("details", { class: "card inject-details", open: params.has("inject") }, h("summary", {}, icon("FAULT"), " Inject a fault into this device"));
  const charts = chartPanel(id);
  const list = h("div");
  fill(root,
    h("p", { class: "back" }, h("a", { href: "#/" }, "← Fleet")), title,
    h("div", { class: "device-columns" }, h("div", {}, panel, charts.element),
      h("aside", { class: "card", "aria-label": "Description" }, h("h2", {}, "Device"), lines)),
    h("section", { class: "card", "aria-labelledby": "device-anomalies" }, h("h2", { id: "device-anomalies" }, "Anomalies of this device"), list));

  const stopPanel = faultPanel(panel, { device: id, onInjected: () => charts.live(300) });

  function head() {
    const known = store.byId.get(id);
    fill(title, h("h1", {}, id), known?.name ? h("span", { class: "device-name" }, known.name) : null, known ? stateOf(known) : null);
  }

  const describing = poll(async () => {
    const device = await get("/device", { id }).catch((error) => error);
    if (device instanceof Failure) return;
    if (!device.known) { fill(lines, empty("Nothing is known of this device.", "Is its id right? Its first reading makes it known.")); return; }
    const rows = [["Type", words(device.type)], ["Place", device.place], ...device.more].filter(([, value]) => value);
    fill(lines, h("dl", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      device.described ? null : h("p", { class: "quiet" }, "It sends readings, but has never been described: its units and place are not known."));
  }, 10_000);
  const listing = poll(async () => {
    const found = await get("/anomalies", { device: id, limit: 30 }).catch((error) => error);
    if (found instanceof Failure) return;
    fill(list, found.rows.length ? anomalyTable(found.rows, { withDevice: false }) : empty("No anomaly so far.", "What leaves this device’s usual range is listed here."));
  }, 2000);
  const onChange = () => head();
  store.addEventListener("change", onChange);
  head();
  return () => { describing.stop(); listing.stop(); charts.stop(); stopPanel(); store.removeEventListener("change", onChange); };
}

/** The diagrams with their range of time; live until the viewer looks at the past. */
export function chartPanel(id) {
  const wish = { seconds: 300, end: null };
  const box = h("div", { class: "charts" });
  const note = h("div", { class: "chart-note" });
  const buttons = SPANS.map(([text, seconds]) => h("button", { type: "button", "data-seconds": String(seconds), onclick: () => set(seconds, null) }, text));
  const now = h("button", { type: "button", class: "now", onclick: () => set(wish.seconds, null) });
  const moves = [["◀", "Earlier", () => move(-0.5)], ["▶", "Later", () => move(0.5)], ["+", "Zoom in", () => zoom(0.5)], ["−", "Zoom out", () => zoom(2)]]
    .map(([sign, text, act]) => h("button", { type: "button", title: text, "aria-label": text, onclick: act }, sign));
  const element = h("section", { class: "card", "aria-label": "Diagrams" },
    h("div", { class: "ranges", role: "group", "aria-label": "Range of time" }, buttons, h("span", { class: "spring" }), moves, now), box, note, legend());
  const charts = new DeviceCharts(box, (from, to) => set((to - from) / 1000, to));
  let data = null;
  const poller = poll(look, () => (wish.end === null ? refreshMs(wish.seconds && wish.seconds * 1000, box.clientWidth || 800) : 30_000));

  function set(seconds, end) {
    Object.assign(wish, { seconds: seconds === null ? null : Math.max(1, seconds), end });
    mark();
    poller.now();
  }
  function move(part) { if (data?.from) set((data.to - data.from) / 1000, data.to + (data.to - data.from) * part); }
  function zoom(factor) {
    if (!data?.from) return;
    const length = data.to - data.from;
    if (wish.end === null) set(length / 1000 * factor, null);
    else set(length / 1000 * factor, data.to + length * (factor - 1) / 2);
  }
  function mark() {
    for (const button of buttons) button.setAttribute("aria-pressed", String(wish.end === null && button.dataset.seconds === String(wish.seconds)));
    now.setAttribute("aria-pressed", String(wish.end === null));
    fill(now, h("span", { class: wish.end === null ? "dot" : "dot off" }), wish.end === null ? " Live" : " Back to live");
  }
  async function look() {
    const asked = JSON.stringify(wish);
    try {
      const found = await get("/charts", { device: id, seconds: wish.seconds, end: wish.end === null ? null : Math.round(wish.end), pixels: Math.max(200, Math.round(box.clientWidth || 800)) });
      if (asked !== JSON.stringify(wish)) return;
      data = found;
      tell(found);
      await charts.show(found);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      fill(note, empty(`The diagrams cannot be drawn now: ${error.message}.`, error.remedy));
    }
  }
  function tell(found) {
    if (!found.metrics.length) { fill(note, empty("No reading of this device is stored yet.", "Its first readings show here as they come.")); return; }
    const silent = store.now() - found.newest, live = wish.end === null;
    fill(note, live && silent > 30_000 && silent < 86_400_000 ? h("p", { class: "quiet" }, `Silent for ${duration(silent)}: the last reading was at `, timeElement(found.newest), ".") : null);
  }
  mark();
  return { element, stop() { poller.stop(); charts.destroy(); }, live(seconds) { set(seconds, null); } };
}

function legend() {
  const entry = (kind, text) => h("span", {}, h("i", { class: `swatch swatch-${kind}` }), text);
  return h("p", { class: "legend" }, entry("line", "reading"), entry("band", "expected"), entry("anomaly", "anomaly"), entry("fault", "injected fault (truth)"), h("span", { class: "hint" }, "Drag to zoom in, Ctrl + wheel to zoom."));
}
