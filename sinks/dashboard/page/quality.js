// Detection against the faults that the simulated devices admit in their readings.
import { Failure, get, poll } from "./api.js";
import { empty, fill, h, table, tile } from "./dom.js";
import { count, duration, number, percent, timeElement, words } from "./format.js";

export function qualityView(root) {
  const body = h("div");
  fill(root, h("h1", {}, "Detection quality"), h("p", { class: "lead" }, "Simulated devices mark the readings that a fault has changed. The detector never sees the marks; here its anomalies are compared with them."), body);
  fill(body, h("p", { class: "loading" }, "Comparing the last hour …"));
  const poller = poll(async () => {
    const found = await get("/quality").catch((error) => error);
    fill(body, found instanceof Failure ? empty(`${found.message}.`, found.remedy) : shown(found));
  }, 30_000);
  return poller.stop;
}

function shown(found) {
  return [
    h("section", { class: "tiles", "aria-label": "Figures" },
      tile("Recall", percent(found.recall), `${number(found.detected)} of ${count(found.events, "fault")} found`),
      tile("Precision", percent(found.precision), `${count(found.false_alarms, "false alarm")}`),
      tile("Median delay", found.median_delay_s === null ? "–" : duration(found.median_delay_s * 1000), "from the fault’s first reading"),
      tile("Devices", number(found.devices), found.warming ? `${number(found.warming)} warming up, not counted` : "all counted")),
    h("section", { class: "card" }, h("h2", {}, "By fault"),
      found.faults.length ? table("By fault", [{ text: "Fault" }, { text: "Faults", class: "num" }, { text: "Found", class: "num" }, { text: "Recall" }, { text: "Median delay", class: "num" }],
        found.faults.map((fault) => [words(fault.fault), number(fault.events), number(fault.detected), bar(fault.detected / fault.events), fault.median_delay_s === null ? "–" : duration(fault.median_delay_s * 1000)]))
        : empty("No fault has counted yet.", "Faults of a device’s warm-up do not count. Inject one to begin.", h("a", { href: "#/inject" }, "Inject a fault")),
      h("p", { class: "quiet" }, "From ", timeElement(found.begin), " to ", timeElement(found.end), ", by event time. Small numbers say little."))];
}

function bar(share) {
  const inner = h("i");
  inner.style.width = `${Math.round(share * 100)}%`;
  return h("span", { class: "bar-cell" }, h("span", { class: "bar-track", "aria-hidden": "true" }, inner), percent(share));
}
