// A fault for a simulated device, and how it is caught: injected, in the readings, detected after so long, over.
import { Failure, get, poll, post } from "./api.js";
import { chartPanel } from "./device.js";
import { empty, fill, h, icon } from "./dom.js";
import { choose } from "./fleet.js";
import { deviceLink, duration, severity, timeElement, words } from "./format.js";
import { store } from "./store.js";

const DURATIONS = [["10 seconds", 10], ["30 seconds", 30], ["1 minute", 60], ["2 minutes", 120], ["5 minutes", 300]];
const SUGGESTED = 12;
const GIVES_UP_MS = 180_000; // behind the fault's end, by the device's clock

export function injectView(root, params) {
  const wanted = params.get("device") ?? "";
  const panel = h("section", { class: "card" });
  const below = h("div");
  let charts = null;
  fill(root, h("h1", {}, "Inject a fault"), h("p", { class: "lead" }, "A simulated device misbehaves for a while, on purpose. Its readings say so themselves (that is the ground truth), but the detector does not look: watch how long it takes to notice."), panel, below);
  function show(device) {
    charts?.stop();
    charts = device ? chartPanel(device) : null;
    fill(below, charts ? [h("h2", { class: "section" }, deviceLink(device)), charts.element] : null);
  }
  const stop = faultPanel(panel, { device: wanted, chooses: true, onDevice: show, onInjected: () => charts?.live(300) });
  return () => { stop(); charts?.stop(); };
}

/** The form and the timeline behind it, in `root`; gives a function that ends it. */
export function faultPanel(root, { device, chooses = false, onDevice = () => {}, onInjected = () => {} }) {
  const body = h("div", { class: "inject" });
  root.append(body);
  let stopWatch = () => {}, ended = false, retry = null, stopForm = () => {};
  async function begin() {
    const control = await get("/control").catch((error) => error);
    if (ended) return;
    if (control instanceof Failure || !control.available) {
      fill(body, empty("Faults cannot be injected from here.", control instanceof Failure ? `${control.message}. ${control.remedy}` : `${control.why} ${control.remedy}`));
      if (chooses) onDevice("");
      retry = setTimeout(begin, 5000);
      return;
    }
    const timeline = h("div", { class: "timeline-box", "aria-live": "polite" });
    const form = faultForm(control, { device, chooses, onDevice }, async (asked) => {
      const begun = await post("/faults", asked);
      stopWatch();
      stopWatch = watch(timeline, begun);
      onInjected(begun);
    });
    stopForm = form.stop;
    fill(body, form.element, timeline);
  }
  begin();
  return () => { ended = true; clearTimeout(retry); stopForm(); stopWatch(); };
}

function faultForm(control, { device, chooses, onDevice }, onInject) {
  const types = new Map(control.types.map((type) => [type.type, type]));
  const problem = h("p", { class: "problem", role: "alert" });
  const fault = h("select", { id: "fault", required: true });
  const list = h("datalist", { id: "device-suggestions" });
  const chosen = h("input", { id: "fault-device", list: "device-suggestions", value: device, required: true, placeholder: "Search a device", autocomplete: "off", spellcheck: "false", oninput: () => { suggest(); offer(); } });
  const length = h("select", { id: "fault-seconds" }, DURATIONS.map(([text, seconds]) => h("option", { value: seconds, selected: seconds === 30 }, text)));
  const intensity = h("input", { id: "fault-intensity", type: "number", step: "any", placeholder: "as usual", title: "In the scale of the fault, as a multiplier; empty for what is usual" });
  const button = h("button", { type: "submit", class: "primary" }, icon("FAULT"), " Inject");
  const clear = h("button", { type: "button", onclick: () => act(async () => { const { count } = await post("/faults/clear", { device: chosen.value }); problem.textContent = count ? "The fault ends now." : "The device has no fault."; }) }, "End its fault");
  const element = h("form", { class: "fault-form", onsubmit: (event) => { event.preventDefault(); act(() => onInject({ device: chosen.value, fault: fault.value, seconds: Number(length.value), ...(intensity.value === "" ? {} : { intensity: Number(intensity.value) }) })); } },
    chooses ? field("Device", chosen, "wide-field", list) : null,
    field("Fault", fault), field("For", length), field("Intensity", intensity, "narrow-field"), button, clear, problem);
  let shown = null;

  async function act(deed) {
    button.disabled = true;
    problem.textContent = "";
    try { await deed(); } catch (error) {
      if (!(error instanceof Failure)) throw error;
      problem.textContent = [error.message, error.remedy].filter(Boolean).map((text) => text.replace(/\.$/, "")).join(". ");
    } finally { button.disabled = false; }
  }
  function suggest() {
    fill(list, choose(store.devices, { search: chosen.value }).slice(0, SUGGESTED).map((one) => h("option", { value: one.id }, one.name)));
  }
  function offer() {
    if (chooses && !chosen.value && store.devices.length && document.activeElement !== chosen) chosen.value = likely(store.devices);
    const known = store.byId.get(chosen.value);
    const now = known ? `${known.id}/${known.type}` : "";
    if (now === shown) return;
    shown = now;
    const kind = known ? types.get(known.type) : null;
    const before = fault.value;
    fill(fault, kind ? faultOptions(kind, before) : h("option", { value: "" }, known ? "its type takes none" : "choose a device first"));
    fault.disabled = button.disabled = !kind;
    if (known && !kind) problem.textContent = "This device is not one of the simulation’s types, so that no fault can be put into it.";
    else problem.textContent = "";
    if (chooses) onDevice(known ? known.id : "");
  }
  const onFleet = () => { suggest(); offer(); };
  store.addEventListener("change", onFleet);
  suggest();
  setTimeout(offer); // when the page has it
  return { element, stop: () => store.removeEventListener("change", onFleet) };
}

function field(text, control, kind = "", more = null) {
  return h("div", { class: `field ${kind}` }, h("label", { for: control.id }, text), control, more);
}

function faultOptions(kind, before) {
  return Object.entries(kind.faults).map(([name, title]) => h("option", { value: name, selected: name === before, title }, title && title.length < 60 ? `${words(name)}: ${title}` : words(name)));
}

/** A device to begin with: calm, judged already. Pure. */
export function likely(devices) {
  return (devices.find((device) => device.rank === 0) ?? devices[0]).id;
}

/** The steps of a catch, by what `/watch` answers. Pure. */
export function steps(begun, answer) {
  const began = Date.parse(begun.began), ends = begun.ends ? Date.parse(begun.ends) : null;
  const over = ends !== null && answer.newest !== null && answer.newest > ends;
  const caught = answer.caught;
  const known = [{ name: "Injected", done: true, at: began, note: words(begun.fault) }];
  known.push({ name: "In the readings", done: answer.first !== null, at: answer.first, note: answer.first === null ? "waiting for the first reading with it" : "the readings say so: ground truth" });
  if (caught) known.push({ name: answer.delay < 0.05 ? "Detected at once" : `Detected after ${duration(answer.delay * 1000)}`, done: true, at: caught.opened, row: caught, note: caught.kind === begun.fault ? "and named rightly" : `as ${words(caught.kind)}` });
  else if (over && answer.newest - ends > GIVES_UP_MS) known.push({ name: "Not detected", done: true, missed: true, at: null, note: "it stayed within what is usual for this device" });
  else known.push({ name: "Detected", done: false, at: null, note: over ? "the fault is over; slow detectors may still speak" : "the detector is looking" });
  const cleared = caught && answer.anomalies.every((row) => !row.open);
  known.push({ name: cleared ? "Over" : "Over again", done: Boolean(cleared), at: cleared ? Math.max(...answer.anomalies.map((row) => row.cleared)) : null, note: cleared ? `${answer.anomalies.length === 1 ? "one anomaly" : `${answer.anomalies.length} anomalies`}, all cleared` : ends === null ? "when it is ended" : "when the readings are as usual again" });
  return known;
}

function watch(root, begun) {
  const draw = (answer) => fill(root, h("h3", {}, "Being caught"), h("ol", { class: "timeline" }, steps(begun, answer).map(step)));
  draw({ first: null, last: null, caught: null, delay: null, anomalies: [], newest: null });
  const poller = poll(async () => {
    const answer = await get("/watch", { device: begun.device, fault: begun.fault, began: Date.parse(begun.began) }).catch((error) => error);
    if (answer instanceof Failure) return;
    draw(answer);
    if (steps(begun, answer).every((one) => one.done)) poller.stop();
  }, 1000);
  return () => poller.stop();
}

function step(one) {
  return h("li", { class: one.missed ? "missed" : one.done ? "done" : "pending" },
    h("b", {}, one.name), one.at ? h("span", { class: "step-time" }, timeElement(one.at)) : null,
    h("span", { class: "step-note" }, one.row ? [severity(one.row.severity), ` ${words(one.row.metric)}, ${one.note}`] : one.note));
}
