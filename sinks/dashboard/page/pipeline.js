// The pipeline's health: what flows, what waits, what was put aside.
import { Failure, get, poll } from "./api.js";
import { empty, fill, h, icon, table } from "./dom.js";
import { ago, number, perSecond } from "./format.js";
import { notificationsCard } from "./notifications.js";

const RATE_MS = 10_000;

/** Changes a second of `of(sample)` over the samples, null where there is but one. Pure. */
export function rate(samples, of) {
  const [first, last] = [samples[0], samples.at(-1)];
  return samples.length < 2 || last.now === first.now ? null : Math.max(0, (of(last) - of(first)) / (last.now - first.now) * 1000);
}

export function pipelineView(root) {
  const body = h("div");
  let samples = [];
  fill(root, h("h1", {}, "Pipeline"), h("p", { class: "lead" }, "Devices put readings on Kafka; the processor judges them, the sink stores both readings and anomalies. Nothing is lost on the way: what cannot be processed is put aside as a dead letter."), body, notificationsCard());
  fill(body, h("p", { class: "loading" }, "Looking …"));
  const poller = poll(async () => {
    const found = await get("/pipeline").catch((error) => error);
    if (found instanceof Failure) { fill(body, empty(`The pipeline cannot be seen now: ${found.message}.`, found.remedy)); return; }
    samples = [...samples.filter((one) => found.now - one.now < RATE_MS), found];
    fill(body, flow(found, samples), topics(found, samples), partitions(found));
  }, 1500);
  return poller.stop;
}

const total = (rows, of) => rows.reduce((sum, row) => sum + of(row), 0);

function flow(found, samples) {
  const processors = found.processors?.partitions ?? [];
  const stored = (sample) => total(sample.topics, (topic) => topic.stored + topic.updated + topic.duplicates);
  const judged = rate(samples, (sample) => total(sample.processors?.partitions ?? [], (one) => one.next_offset));
  const lags = processors.map((one) => one.lag).filter((lag) => lag !== null);
  const dead = total(found.topics, (topic) => topic.dead_letters) + total(processors, (one) => one.dead_letters);
  const uncommitted = total(processors, (one) => Math.max(0, one.next_offset - one.committed_offset));
  return h("ol", { class: "flow", "aria-label": "The way of a reading" },
    stage("Kafka", lags.length ? number(total(lags, (lag) => lag)) : "–", "readings wait for the processor"),
    stage("Processor", judged === null || !processors.length ? "–" : `${perSecond(judged)}/s`, found.processors ? `judged; ${number(total(processors, (one) => one.warming))} of ${number(total(processors, (one) => one.series))} series warming up` : "not seen from here"),
    stage("Checkpoints", processors.length ? number(uncommitted) : "–", "readings since the last ones; read again after a crash"),
    stage("Database", rate(samples, stored) === null ? "…" : `${perSecond(rate(samples, stored))}/s`, "messages stored"),
    stage("Dead letters", number(dead), dead ? "look at them: sigmawatch dlq list" : "nothing put aside", dead ? "is-warning" : ""));
}

function stage(name, value, note, kind = "") {
  return h("li", { class: `tile ${kind}` }, h("span", { class: "tile-label" }, kind ? [icon("WARNING"), " "] : null, name), h("span", { class: "tile-value" }, value), h("span", { class: "tile-note" }, note));
}

function topics(found, samples) {
  if (!found.topics.length) return empty("The sink has stored nothing yet.", "Is it running? `sigmawatch sink timescale` is a part of `sigmawatch up`.");
  const heads = [{ text: "Topic" }, ...["Stored", "Updated", "Repeated", "Dead letters", "A second"].map((text) => ({ text, class: "num" })), { text: "Last stored" }];
  return h("section", { class: "card" }, h("h2", {}, "Into the database"), h("div", { class: "wide" }, table("Topics", heads, found.topics.map((topic) => {
    const per = rate(samples, (sample) => total(sample.topics.filter((one) => one.topic === topic.topic), (one) => one.stored + one.updated + one.duplicates));
    return [topic.topic, number(topic.stored), number(topic.updated), number(topic.duplicates), number(topic.dead_letters), per === null ? "…" : perSecond(per), ago(topic.moved_at, found.now)];
  }))));
}

function partitions(found) {
  if (!found.processors) return h("section", { class: "card" }, h("h2", {}, "Processors"), empty(found.trouble ?? "The processors are not seen from here.", found.trouble ? "" : "`sigmawatch up` shows them; elsewhere their /metrics does."));
  const heads = [{ text: "Partition" }, ...["Lag", "Next offset", "Checkpoint", "Series", "Warming", "Open anomalies", "Dead letters"].map((text) => ({ text, class: "num" }))];
  return h("section", { class: "card" }, h("h2", {}, `Processors: ${found.processors.workers_ready} ready`),
    found.processors.partitions.length ? h("div", { class: "wide" }, table("Partitions", heads, found.processors.partitions.map((one) =>
      [one.partition, one.lag === null ? "–" : number(one.lag), number(one.next_offset), number(one.committed_offset), number(one.series), number(one.warming), number(one.open), number(one.dead_letters)])))
      : empty("No processor has partitions now.", "They are handed out within seconds of a start; after a crash within half a minute."));
}
