// The frame: views by the address' hash, theme, shortcuts, what is wrong.
import { setToken } from "./api.js";
import { anomaliesView } from "./anomalies.js";
import { library } from "./charts.js";
import { deviceView } from "./device.js";
import { fill, h, icon, say } from "./dom.js";
import { fleetView } from "./fleet.js";
import { perSecond } from "./format.js";
import { injectView } from "./inject.js";
import { pipelineView } from "./pipeline.js";
import { qualityView } from "./quality.js";
import { store } from "./store.js";

const VIEWS = [["", "Fleet", fleetView, "f"], ["anomalies", "Anomalies", anomaliesView, "a"], ["inject", "Inject a fault", injectView, "i"], ["quality", "Quality", qualityView, "q"], ["pipeline", "Pipeline", pipelineView, "p"]];
const THEME = "sigmawatch-theme";
const byId = (id) => document.getElementById(id);

let leave = () => {};
let shown = null;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  const wanted = name === "device" ? `device/${rest.join("/")}` : name;
  leave();
  shown = wanted;
  const root = byId("view");
  root.className = `view-${name || "fleet"}`;
  fill(root);
  const params = new URLSearchParams(query);
  let device = "";
  try { device = decodeURIComponent(rest.join("/")); } catch { device = rest.join("/"); }
  const view = VIEWS.find(([key]) => key === name) ?? VIEWS[0];
  leave = name === "device" && device ? deviceView(root, params, device) : view[2](root, params);
  document.title = `${name === "device" ? device : view[1]} · Sigmawatch`;
  for (const link of byId("nav").children) {
    if (link.dataset.view === (name === "device" ? "" : view[0])) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
}

function theme(wanted) {
  if (wanted) localStorage.setItem(THEME, wanted);
  const chosen = localStorage.getItem(THEME) ?? "auto";
  const dark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const [name, text] = { auto: ["AUTO", "as the system"], light: ["SUN", "light"], dark: ["MOON", "dark"] }[chosen];
  fill(byId("theme"), icon(name));
  byId("theme").setAttribute("aria-label", `Theme: ${text}. Change`);
  byId("theme").title = `Theme: ${text} (t)`;
  document.dispatchEvent(new Event("theme"));
}

function nextTheme() {
  theme({ auto: "light", light: "dark", dark: "auto" }[localStorage.getItem(THEME) ?? "auto"]);
}

function helpDialog() {
  const keys = [["/", "search"], ["g f", "fleet"], ["g a", "anomalies"], ["g i", "inject a fault"], ["g q", "quality"], ["g p", "pipeline"], ["↑ ↓", "move in the list of devices"], ["t", "theme: as the system, light, dark"], ["?", "this help"], ["Esc", "close, leave a field"]];
  const dialog = h("dialog", { "aria-labelledby": "help-title", onclose: () => dialog.remove() },
    h("h2", { id: "help-title" }, "Sigmawatch"),
    h("p", {}, "Readings of many devices flow through Kafka. A reading that its device’s own past does not explain opens an anomaly; when the readings are as usual again, it is over."),
    h("dl", { class: "words" },
      [["Expected", "the band in a diagram: where the value was to be, by what came before"], ["Warming up", "a device’s first readings; nothing is judged yet"], ["Severity", "critical, warning, info: how far the reading is off"],
        ["Fault", "the cause in a device; simulated ones say it, and you can inject some"], ["Times", "are of your time zone; hover for UTC"]].map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
    h("h3", {}, "Keys"), h("dl", { class: "keys" }, keys.map(([key, text]) => [h("dt", {}, key.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, text)])),
    h("p", { class: "quiet" }, "For programs: ", h("a", { href: "/docs" }, "the API"), "."),
    h("form", { method: "dialog" }, h("button", { class: "primary", autofocus: true }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}

function tokenDialog() {
  if (document.querySelector("dialog.token")) return;
  const field = h("input", { type: "password", autocomplete: "off", required: true, "aria-label": "Token" });
  const dialog = h("dialog", { class: "token", "aria-labelledby": "token-title", onclose: () => dialog.remove() },
    h("h2", { id: "token-title" }, "Token"), h("p", {}, "This Sigmawatch wants a token. It is kept until the tab is closed."),
    h("form", { method: "dialog", onsubmit: () => { setToken(field.value.trim()); store.poller.now(); } }, field, h("button", { class: "primary" }, "Continue")));
  document.body.append(dialog);
  dialog.showModal();
}

let prefix = 0;
function onKey(event) {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.key === "Escape" && typing && !event.target.closest("dialog")) { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const view = Date.now() - prefix < 1500 && VIEWS.find(([, , , key]) => key === event.key);
  prefix = 0;
  if (view) location.hash = `#/${view[0]}`;
  else if (event.key === "g") prefix = Date.now();
  else if (event.key === "t") nextTheme();
  else if (event.key === "?") helpDialog();
  else if (event.key === "/") {
    if (!byId("search")) location.hash = "#/";
    requestAnimationFrame(() => requestAnimationFrame(() => { byId("search")?.focus(); byId("search")?.select(); }));
  } else return;
  event.preventDefault();
}

function onChange() {
  const { failure, rate } = store;
  const pulse = byId("pulse");
  pulse.classList.toggle("is-off", Boolean(failure));
  say(pulse, failure ? "Not connected" : rate === null ? "Connected" : rate < 0.05 ? "No readings now" : `Live · ${perSecond(rate)} readings/s`);
  const what = failure && failure.status !== 401 ? `${failure.message}. ${failure.remedy}${store.loaded ? " What is shown is as it was." : ""}` : "";
  const trouble = byId("trouble");
  if (trouble.textContent.trim() !== what.trim()) fill(trouble, what ? [icon("WARNING"), ` ${what}`] : null);
}

for (const [key, text, , letter] of VIEWS) {
  byId("nav").append(h("a", { href: `#/${key}`, "data-view": key, title: `g then ${letter}` }, text));
}
byId("theme").addEventListener("click", nextTheme);
byId("help").addEventListener("click", helpDialog);
document.addEventListener("keydown", onKey);
document.addEventListener("token-wanted", tokenDialog);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
addEventListener("hashchange", route);
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); byId("view").focus(); });
store.addEventListener("change", onChange);
theme();
store.start();
route();
// The diagrams' library comes when nothing else is to do, so that the first diagram need not wait for it.
(globalThis.requestIdleCallback ?? setTimeout)(() => library().catch(() => {}), { timeout: 4000 });
