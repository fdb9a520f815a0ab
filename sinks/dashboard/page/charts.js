// Diagrams of a device by BokehJS. What is drawn follows from the data by pure functions; `DeviceCharts` hands it over.
import { h, icon, say } from "./dom.js";
import { number, severity, time, utc, withUnit, words } from "./format.js";

const LIBRARY = `/dashboard/static/${document.documentElement.dataset.library}`;
const GAP = 4; // usual distances without a reading after which the line is broken
const COLUMNS = ["x", "t", "y", "low", "high", "lower", "upper", "when", "value", "usual"];

let loading = null;

/** BokehJS, loaded when it is first wanted. */
export function library() {
  loading ??= (async () => {
    for (const name of ["bokeh.min.js", "bokeh-api.min.js"]) {
      await new Promise((done, failed) => {
        const script = h("script", { src: `${LIBRARY}/${name}`, onload: done, onerror: () => failed(new Error("BokehJS does not load")) });
        document.head.append(script);
      });
    }
    globalThis.Bokeh.set_log_level("error");
    return globalThis.Bokeh;
  })();
  return loading;
}

/** A time as the axis takes it: Bokeh shows UTC, so the viewer's clock is added. Pure. */
export function local(ms) {
  return ms - new Date(ms).getTimezoneOffset() * 60_000;
}

/** Columns of the line and its band; a silence breaks the line. Pure. */
export function lineColumns(chart) {
  const columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  const longest = GAP * usualDistance(chart.t);
  chart.t.forEach((at, i) => {
    if (i && at - chart.t[i - 1] > longest) push(columns, chart, at - 1, null);
    push(columns, chart, at, i);
  });
  return columns;
}

function push(columns, chart, at, i) {
  const of = (values) => (i === null ? NaN : values[i] ?? NaN);
  const mean = of(chart.mean), lower = of(chart.lower), upper = of(chart.upper);
  columns.x.push(local(at));
  columns.t.push(at);
  columns.y.push(mean);
  columns.low.push(chart.low ? of(chart.low) : mean);
  columns.high.push(chart.high ? of(chart.high) : mean);
  columns.lower.push(lower);
  columns.upper.push(upper);
  columns.when.push(`${time(at)}  (${utc(at).slice(11, 19)} UTC)`);
  columns.value.push(chart.low && i !== null ? `${withUnit(mean, chart.unit)} (${number(of(chart.low))} to ${number(of(chart.high))})` : withUnit(mean, chart.unit));
  columns.usual.push(Number.isNaN(lower) ? "not known yet" : `${number(lower)} to ${withUnit(upper, chart.unit)}`);
}

/** Median of the distances between times, ms. Pure. */
export function usualDistance(times) {
  const steps = times.slice(1).map((at, i) => at - times[i]).sort((a, b) => a - b);
  return steps.length ? steps[Math.floor(steps.length / 2)] : Infinity;
}

/** Columns of the episodes: from opening to end, open ones to the end of the diagram. Pure. */
export function anomalyColumns(chart, to, colours) {
  const rows = chart.anomalies;
  return {
    x0: rows.map((row) => local(row.opened)),
    x1: rows.map((row) => local(row.cleared ?? to)),
    y: rows.map((row) => row.value ?? row.expected ?? NaN),
    colour: rows.map((row) => colours[row.severity]),
    marker: rows.map((row) => ({ CRITICAL: "hex", WARNING: "triangle", INFO: "circle" })[row.severity] ?? "circle"),
    what: rows.map((row) => `${row.severity.toLowerCase()}: ${words(row.kind)}`),
    reason: rows.map((row) => row.reason || "–"),
    when: rows.map((row) => `${time(row.opened)}${row.cleared ? ` to ${time(row.cleared)}` : ", open"}`),
    value: rows.map((row) => `${withUnit(row.value, chart.unit)}, expected ${withUnit(row.expected, chart.unit)}`),
  };
}

/** The value axis: all that is drawn, and of the band no more than twice as much again. Pure. */
export function valueRange(chart) {
  const seen = [...chart.mean, ...(chart.low ?? []), ...(chart.high ?? []), ...chart.anomalies.map((row) => row.value)].filter((value) => value !== null);
  if (!seen.length) return [0, 1];
  let [low, high] = [Math.min(...seen), Math.max(...seen)];
  const extent = high - low || Math.abs(high) * 0.1 || 1;
  const band = [...chart.lower, ...chart.upper].filter((value) => value !== null);
  if (band.length) [low, high] = [Math.max(low - extent, Math.min(low, ...band)), Math.min(high + extent, Math.max(high, ...band))];
  const margin = (high - low || extent) * 0.1;
  return [low - margin, high + margin];
}

/** A diagram in a sentence, for who does not see it. Pure. */
export function summary(chart) {
  const values = chart.mean.filter((value) => value !== null);
  if (!values.length) return `${words(chart.metric)}: no reading in this time`;
  const open = chart.anomalies.filter((row) => row.open).length;
  return `${words(chart.metric)}: ${number(Math.min(...values))} to ${withUnit(Math.max(...values), chart.unit)}, last ${withUnit(values.at(-1), chart.unit)}; ${chart.anomalies.length} anomalies, ${open} of them open`;
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), muted: of("--muted"), line: of("--line"), surface: of("--surface"), series: of("--series"), band: of("--band"), fault: of("--fault"),
    CRITICAL: of("--critical"), WARNING: of("--warning"), INFO: of("--info") };
}

/** What is told of a point, as text: Bokeh's own templates would take HTML. */
function tip(colours, title, rows) {
  return (source, vars) => {
    const of = (name) => String(source.data[name]?.[vars.index] ?? "");
    const box = h("div", {}, h("div", {}, of(title)), rows.map(([label, name]) => h("div", {}, h("span", {}, `${label} `), of(name))));
    Object.assign(box.style, { color: colours.ink, font: "12px/1.5 system-ui, sans-serif", maxWidth: "320px", whiteSpace: "normal" });
    box.firstChild.style.fontWeight = "600";
    for (const label of box.querySelectorAll("span")) label.style.color = colours.muted;
    return box;
  };
}

/** Diagrams of all metrics of one device, one above the other, zoomed together. */
export class DeviceCharts {
  /** `onZoom(from, to)` in ms is called when the viewer has chosen another stretch. */
  constructor(root, onZoom) {
    this.root = root;
    this.onZoom = onZoom;
    this.plots = new Map();
    this.data = null;
    this.setting = false;
    this.retheme = () => { this.clear(); if (this.data) this.show(this.data); };
    document.addEventListener("theme", this.retheme);
  }

  async show(data) {
    this.data = data;
    const bokeh = await library();
    if (this.data !== data || !this.root.isConnected) return;
    for (const [metric, plot] of this.plots) {
      if (!data.metrics.some((chart) => chart.metric === metric)) { plot.card.remove(); this.plots.delete(metric); }
    }
    this.setting = true;
    for (const chart of data.metrics) {
      if (!this.plots.has(chart.metric)) this.plots.set(chart.metric, this.#make(bokeh, chart, data));
      this.#update(this.plots.get(chart.metric), chart, data);
    }
    this.setting = false;
  }

  #make(bokeh, chart, data) {
    const colours = palette();
    const source = (columns) => new bokeh.ColumnDataSource({ data: columns });
    // What can be pointed at has a source of its own: Bokeh leaves out areas of a source while one of its points is looked at.
    const plot = { colours, line: source(lineColumns(chart)), areas: source(lineColumns(chart)), episodes: source(anomalyColumns(chart, data.to, colours)), marks: source(anomalyColumns(chart, data.to, colours)), faults: source({ left: [], right: [] }),
      x: new bokeh.Range1d({ start: local(data.from), end: local(data.to) }), y: new bokeh.Range1d({ start: 0, end: 1 }) };
    const figure = bokeh.Plotting.figure({ height: 168, sizing_mode: "stretch_width", x_axis_type: "datetime", x_range: plot.x, y_range: plot.y, tools: [], toolbar_location: null,
      background_fill_color: null, border_fill_color: null, outline_line_color: null, min_border_left: 58, min_border_right: 12, min_border_top: 6, min_border_bottom: 24 });
    for (const [grid, alpha] of [[figure.xgrids[0], 0.45], [figure.ygrids[0], 0.8]]) Object.assign(grid, { grid_line_color: colours.line, grid_line_alpha: alpha });
    for (const axis of [figure.xaxes[0], figure.yaxes[0]]) {
      Object.assign(axis, { axis_line_color: null, major_tick_line_color: null, minor_tick_line_color: null, major_label_text_color: colours.muted, major_label_text_font_size: "11px" });
    }
    figure.yaxes[0].ticker.desired_num_ticks = 4;
    figure.xaxes[0].formatter.setv({ milliseconds: "%H:%M:%S.%3N", seconds: "%H:%M:%S", minsec: "%H:%M:%S", minutes: "%H:%M", hourmin: "%H:%M", hours: "%H:%M", days: "%d %b", months: "%b %Y", strip_leading_zeros: [] });
    figure.varea({ field: "x" }, { field: "lower" }, { field: "upper" }, { source: plot.areas, fill_color: colours.band, fill_alpha: 0.22 });
    figure.varea({ field: "x" }, { field: "low" }, { field: "high" }, { source: plot.areas, fill_color: colours.series, fill_alpha: 0.25 });
    figure.vstrip({ field: "x0" }, { field: "x1" }, { source: plot.episodes, fill_color: { field: "colour" }, fill_alpha: 0.16, line_color: { field: "colour" }, line_alpha: 0.5 });
    figure.quad({ field: "left" }, { field: "right" }, { field: "bottom" }, { field: "top" }, { source: plot.faults, fill_color: colours.fault, line_color: null });
    const line = figure.line({ field: "x" }, { field: "y" }, { source: plot.line, line_color: colours.series, line_width: 1.6, line_join: "round" });
    const marks = figure.scatter({ field: "x0" }, { field: "y" }, { source: plot.marks, size: 11, marker: { field: "marker" }, fill_color: { field: "colour" }, line_color: colours.surface, line_width: 1.5 });
    this.#tools(bokeh, figure, line, marks, colours);
    const heading = h("div", { class: "chart-head" });
    const canvas = h("div", { class: "chart-canvas" });
    plot.card = h("figure", { class: "chart", role: "group", "data-metric": chart.metric }, heading, canvas, h("figcaption", { class: "hidden" }));
    plot.heading = heading;
    this.root.append(plot.card);
    bokeh.Plotting.show(figure, canvas);
    for (const range of [plot.x.properties.start, plot.x.properties.end]) range.change.connect(() => this.#zoomed(plot));
    return plot;
  }

  #tools(bokeh, figure, line, marks, colours) {
    const zoom = new bokeh.BoxZoomTool({ dimensions: "width" });
    const wheel = new bokeh.WheelZoomTool({ dimensions: "width", modifiers: { ctrl: true } });
    const crosshair = new bokeh.CrosshairTool({ dimensions: "height", line_color: colours.muted, line_alpha: 0.5 });
    const values = new bokeh.HoverTool({ renderers: [line], mode: "vline", show_arrow: false, tooltips: tip(colours, "when", [["value", "value"], ["expected", "usual"]]) });
    const episodes = new bokeh.HoverTool({ renderers: [marks], show_arrow: false, tooltips: tip(colours, "what", [["when", "when"], ["value", "value"], ["why", "reason"]]) });
    figure.add_tools(zoom, wheel, crosshair, values, episodes);
    figure.toolbar.active_drag = zoom;
    figure.toolbar.active_scroll = wheel;
  }

  #update(plot, chart, data) {
    plot.line.data = plot.areas.data = lineColumns(chart);
    plot.episodes.data = plot.marks.data = anomalyColumns(chart, data.to, plot.colours);
    const [low, high] = valueRange(chart);
    plot.y.setv({ start: low, end: high });
    plot.x.setv({ start: local(data.from), end: local(data.to) });
    const foot = low + (high - low) * 0.035;
    plot.faults.data = { left: chart.faults.map(([from]) => local(from)), right: chart.faults.map(([, to]) => local(to)), bottom: chart.faults.map(() => low), top: chart.faults.map(() => foot) };
    // What is wrong now comes first.
    plot.card.style.order = chart.anomalies.some((row) => row.open) ? "-1" : "0";
    this.#caption(plot, chart);
  }

  #caption(plot, chart) {
    const last = chart.mean.findLast((value) => value !== null);
    const open = chart.anomalies.filter((row) => row.open);
    const parts = [h("b", {}, words(chart.metric)), h("span", { class: "chart-last" }, last === undefined ? "no reading in this time" : withUnit(last, chart.unit))];
    if (chart.warming !== null) parts.push(h("span", { class: "warming" }, icon("WARMING"), ` Warming up, ${chart.warming} of ${this.data.warmup} readings: nothing is judged yet`));
    for (const row of open) parts.push(severity(row.severity, words(row.kind)));
    plot.heading.replaceChildren(...parts);
    say(plot.card.querySelector("figcaption"), summary(chart));
    plot.card.setAttribute("aria-label", summary(chart));
  }

  #zoomed(plot) {
    if (this.setting) return;
    const { start, end } = plot.x;
    this.setting = true;
    for (const other of this.plots.values()) if (other !== plot) other.x.setv({ start, end });
    this.setting = false;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.onZoom(unlocal(start), unlocal(end)), 250);
  }

  clear() {
    for (const plot of this.plots.values()) plot.card.remove();
    this.plots.clear();
  }

  destroy() {
    clearTimeout(this.later);
    document.removeEventListener("theme", this.retheme);
    this.clear();
    this.data = null;
  }
}

/** What `local` made, back as ms since 1970 UTC. Pure. */
export function unlocal(ms) {
  return Math.round(ms + new Date(ms + new Date(ms).getTimezoneOffset() * 60_000).getTimezoneOffset() * 60_000);
}
