/* The charts over time: signals with forecasts, power by source, battery levels, carbon. Each is a function from what is known to traces.

   Values are steps (means over a bin), so lines and areas are drawn as steps; what is unknown is hatched, never zero. */

import { chartText } from "./dom.js";
import { offsetName, offsetOf, quantity } from "./format.js";
import { colour, translucent } from "./palette.js";
import { timeAxis, valueAxis } from "./plot.js";
import { groupsOf, knownSum, sumOf } from "./view.js";

const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid"];
const FORECAST_S = 24 * 3600;

/** Times of a chart: bins' starts up to an end, and the end, shifted to the site's wall clock of now. */
class Frame {
  constructor(view, history, end_s = view.now_s) {
    this.offset_s = offsetOf(view.now_s, view.zone);
    this.now_ms = this.ms(view.now_s);
    this.end_s = end_s;
    this.step_s = history.step_s;
    this.times = history.times();
    this.from_ms = this.ms(this.times[0]);
    this.x = [...this.times.filter((time) => time < this.end_s), this.end_s].map((time) => this.ms(time));
  }

  ms(time_s) {
    return (time_s + this.offset_s) * 1000;
  }

  /** Values of the bins so far, the last one held to the end; null where unknown. */
  y(values) {
    const known = Array.from({ length: this.x.length - 1 }, (_, k) => (Number.isNaN(values[k]) ? null : values[k]));
    return [...known, known[known.length - 1] ?? null];
  }

  /** Where nothing is known between what is known: spans, hatched by `shapes`. */
  gaps(values) {
    const spans = [];
    let first = -1;
    for (let k = 0; k < this.x.length - 1; k++) {
      if (Number.isNaN(values[k])) continue;
      if (first >= 0 && k > first + 1) spans.push([this.x[first + 1], this.x[k]]);
      first = k;
    }
    return spans;
  }

  zone() {
    return `Times in charts: site time, ${offsetName(this.offset_s)}.`;
  }
}

function gapShapes(spans, yref = "paper") {
  const box = { type: "rect", xref: "x", yref, y0: 0, y1: 1, layer: "above", line: { width: 0 }, fillcolor: colour("panel") };
  const edge = { type: "line", xref: "x", yref, y0: 0, y1: 1, layer: "above", line: { width: 1, dash: "dot", color: colour("faint") } };
  return spans.slice(-40).flatMap(([x0, x1]) => [{ ...box, x0, x1 }, { ...edge, x0, x1: x0 }, { ...edge, x0: x1, x1 }]);
}

function gapNotes(spans) {
  return spans.slice(-6).map(([x0, x1]) => ({
    x: (x0 + x1) / 2, y: 0.5, xref: "x", yref: "paper", text: "no data", textangle: -90, showarrow: false, font: { color: colour("faint") },
  }));
}

const steps = (x, y, name, paint, unit, more = {}) => ({
  type: "scatter", mode: "lines", x, y, name: chartText(name), line: { color: paint, width: 1.8, shape: "hv" }, connectgaps: false,
  hovertemplate: `%{y:,.3~r} ${unit}`, ...more,
});

const area = (x, y, name, paint, unit) =>
  steps(x, y, name, paint, unit, {
    stackgroup: "all", fillcolor: translucent(paint, 0.72), line: { color: paint, width: 0.6, shape: "hv" },
  });

/** Carbon intensity above, solar power below; what is expected of the next day dashed. */
export function signalsChart(view, history, forecasts, size) {
  const frame = new Frame(view, history, view.now_s + view.tick_s);
  const owner = view.apps[view.apps.length - 1].app;
  const intensity = history.values(owner, "carbon_intensity_g_per_kwh") ?? new Float64Array(history.count).fill(NaN);
  const sun = history.sum(view.apps.map((app) => app.app), "solar_w");
  const { solar, carbon, ink, faint } = { solar: colour("solar"), carbon: colour("carbon"), ink: colour("ink"), faint: colour("faint") };
  const dashed = (answer, axis, paint, unit) => {
    if (!answer) return [];
    const x = answer.values.map((_, k) => frame.ms(answer.start_s + (k + 0.5) * answer.step_s));
    return [steps(x, answer.values, "forecast", paint, unit, { yaxis: axis, line: { color: paint, width: 1.8, dash: "dash" } })];
  };
  const gone_s = Math.min(view.now_s - frame.times[0], FORECAST_S);
  const traces = [
    steps(frame.x, frame.y(intensity), "intensity", carbon, "g/kWh", { yaxis: "y", hovertemplate: "%{y:.0f} g/kWh" }),
    ...dashed(forecasts.carbon, "y", carbon, "g/kWh"),
    steps(frame.x, frame.y(sun), "sun", solar, "W", { yaxis: "y2", fill: "tozeroy", fillcolor: translucent(solar, 0.3) }),
    ...dashed(forecasts.solar, "y2", solar, "W"),
  ];
  const now = { type: "line", xref: "x", yref: "paper", x0: frame.now_ms, x1: frame.now_ms, y0: 0, y1: 1, line: { color: faint, width: 1, dash: "dot" } };
  const layout = {
    xaxis: timeAxis(frame.ms(view.now_s - gone_s), frame.ms(view.now_s + FORECAST_S), size, { anchor: "y2" }),
    yaxis: valueAxis("g/kWh", { domain: [0.56, 1], nticks: 4 }),
    yaxis2: valueAxis("W", { domain: [0, 0.46], nticks: 4 }),
    shapes: [now],
    annotations: [{ x: frame.now_ms, y: 1, xref: "x", yref: "paper", text: "now", showarrow: false, xanchor: "left", font: { color: ink } }],
  };
  const summary = `Carbon intensity ${quantity(view.intensity, "g/kWh")}, solar power ${quantity(sumOf(view.apps, (app) => app.solar.power_w), "W")}.`;
  const missing = ["carbon", "solar"].filter((name) => !forecasts[name]);
  return { traces, layout, summary, foot: frame.zone() + (missing.length ? ` No forecast of ${missing.join(" and ")}.` : "") };
}

/** What served the load of some apps, stacked. */
export function sourcesChart(view, history, apps, size) {
  const frame = new Frame(view, history);
  const parts = [["solar", "solar_to_load_w"], ["battery", "battery_discharge_w"], ["grid", "grid_to_load_w"]];
  const sums = parts.map(([, metric]) => history.sum(apps, metric));
  for (let k = 0; k < history.count; k++) if (sums.some((sum) => Number.isNaN(sum[k]))) for (const sum of sums) sum[k] = NaN;
  const traces = parts.map(([name], k) => area(frame.x, frame.y(sums[k]), name, colour(name), "W"));
  const spans = frame.gaps(sums[0]);
  const layout = {
    xaxis: timeAxis(frame.from_ms, frame.ms(frame.end_s), size),
    yaxis: valueAxis("W"),
    shapes: gapShapes(spans),
    annotations: gapNotes(spans),
  };
  const members = view.apps.filter((app) => apps.includes(app.app));
  const now = (value) => quantity(sumOf(members, value), "W");
  const summary = `Now ${now((app) => app.load.solar_w)} from the sun, ${now((app) => app.load.battery_w)} from batteries, ${now((app) => app.load.grid_w)} from the grid.`;
  return { traces, layout, summary };
}

/** Levels of the virtual batteries, stacked, with the physical level and what it could be. */
export function batteryChart(view, history, physical, size) {
  const frame = new Frame(view, history);
  const groups = groupsOf(view.apps);
  const sums = groups.map((group) => history.sum(group.apps, "battery_level_wh"));
  const traces = groups.map((group, k) => area(frame.x, frame.y(sums[k]), group.label, colour(group.colour), "Wh"));
  const capacity = view.site ? view.site.battery_capacity_wh : view.apps[0].battery.capacity_wh;
  const ink = colour("ink");
  if (view.site && physical.length) {
    const line = { color: ink, width: 1.6, dash: "solid", shape: "hv" };
    traces.push(steps(physical.map(([time]) => frame.ms(time)), physical.map(([, level]) => level), "physical level", ink, "Wh", { line }));
  }
  const spans = frame.gaps(history.sum(view.apps.map((app) => app.app), "battery_level_wh"));
  const full = { type: "line", xref: "paper", x0: 0, x1: 1, y0: capacity, y1: capacity, line: { color: colour("faint"), width: 1.2, dash: "dash" } };
  const layout = {
    xaxis: timeAxis(frame.from_ms, frame.ms(frame.end_s), size),
    yaxis: valueAxis("Wh", { range: [0, capacity * 1.08 || 1] }),
    shapes: [...gapShapes(spans), full],
    annotations: gapNotes(spans),
  };
  const level = view.site ? view.site.battery_level_wh : view.apps[0].battery.level_wh;
  const summary = `Level ${quantity(level, "Wh")} of ${quantity(capacity, "Wh")}.`;
  const buffer = view.site ? ` of it ${quantity(view.site.buffer_wh, "Wh")} solar buffer,` : "";
  return { traces, layout, summary, foot: `${quantity(level, "Wh")},${buffer} of ${quantity(capacity, "Wh")} usable (dashed).` };
}

/** Carbon of apps: totals above, rates below. */
export function carbonChart(view, history, size) {
  const frame = new Frame(view, history);
  const traces = groupsOf(view.apps).flatMap((group, k) => {
    const members = view.apps.filter((app) => group.apps.includes(app.app));
    const amounts = history.sum(group.apps, "carbon_g");
    const rates = history.rates(group.apps, "carbon_g");
    const totals = totalsOf(amounts, sumOf(members, (app) => app.carbon.total_g));
    const line = { color: colour(group.colour), width: 1.8, dash: DASHES[k % DASHES.length] };
    return [
      steps(frame.x, frame.y(totals), group.label, line.color, "g", { line, legendgroup: k }),
      steps(frame.x, frame.y(rates), group.label, line.color, "g/h", { yaxis: "y2", line: { ...line, width: 1.3, shape: "hv" } }),
    ];
  });
  const layout = {
    xaxis: timeAxis(frame.from_ms, frame.ms(frame.end_s), size, { anchor: "y2" }),
    yaxis: valueAxis("g", { domain: [0.5, 1], rangemode: "normal" }),
    yaxis2: valueAxis("g/h", { domain: [0, 0.4], nticks: 4 }),
  };
  const rate = knownSum(view.apps, (app) => app.carbon.rate_g_per_h);
  const total = sumOf(view.apps, (app) => app.carbon.total_g);
  const unknown = sumOf(view.apps, (app) => app.carbon.unknown_wh);
  const summary = `${quantity(total, "g")} in total, now ${quantity(rate, "g/h")}.`;
  const note = unknown > 0 ? ` ${quantity(unknown, "Wh")} were imported while the intensity was unknown and are not in the totals.` : "";
  return { traces, layout, summary, foot: summary + note };
}

export const carbonLegend = (view) =>
  groupsOf(view.apps).map(({ label, colour: name }, k) => ({ label, colour: colour(name), line: k % 3 === 0 ? "solid" : k % 3 === 1 ? "dashed" : "dotted" }));

/** Totals at the end of each bin, back from the total of now; unknown before the first known amount. */
function totalsOf(amounts, total_g) {
  const totals = new Float64Array(amounts.length).fill(NaN);
  let first = amounts.findIndex((amount) => !Number.isNaN(amount));
  if (first < 0) first = amounts.length;
  let after = total_g;
  for (let k = amounts.length - 1; k >= first; k--) {
    if (!Number.isNaN(amounts[k])) {
      totals[k] = after;
      after -= amounts[k];
    }
  }
  return totals;
}
