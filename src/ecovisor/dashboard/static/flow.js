/* The energy flow of the last tick as a Sankey diagram: sources on the left, what they served on the right.

   The places of all nodes are computed here, always in the same order, so that the picture breathes instead of jumping. */

import { chartText } from "./dom.js";
import { quantity } from "./format.js";
import { colour, translucent } from "./palette.js";
import { groupsOf, sumOf } from "./view.js";

/** Power below which a flow is not drawn. [W] */
const LEAST_W = 0.005;
/** Between two nodes, and the least that one takes with its label: parts of the height. */
const PAD = 0.02;
const SLOT_EM = 1.5;

/** Flows as `{from, to, value}` between named nodes, each with label and colour. */
export function flowsOf(view, before) {
  const nodes = new Map();
  const links = [];
  const link = (from, to, value) => {
    if (value >= LEAST_W) links.push({ from, to, value });
  };
  const node = (key, side, label, paint) => nodes.set(key, { key, side, label, paint });
  node("solar", 0, "solar", "solar");
  node("battery", 0, "battery", "battery");
  node("grid", 0, "grid", "grid");
  const groups = view.operator ? groupsOf(view.apps) : [{ label: "load", colour: "load", apps: [view.name] }];
  for (const group of groups) {
    const key = `app ${group.label}`;
    const members = view.apps.filter((app) => group.apps.includes(app.app));
    node(key, 1, group.label, group.colour);
    link("solar", key, sumOf(members, (app) => app.load.solar_w));
    link("battery", key, sumOf(members, (app) => app.load.battery_w));
    link("grid", key, sumOf(members, (app) => app.load.grid_w));
  }
  node("charge", 1, "into battery", "battery");
  const fromGrid = sumOf(view.apps, (app) => Math.max(app.grid.power_w - app.load.grid_w, 0));
  link("solar", "charge", sumOf(view.apps, (app) => app.battery.charge_w) - fromGrid);
  link("grid", "charge", fromGrid);
  const excess = excessOf(view, before);
  node("export", 1, "export", "export");
  node("shared", 1, "to other apps", "export");
  node("curtailed", 1, "curtailed", "curtailed");
  for (const [to, value] of Object.entries(excess)) link("solar", to, value);
  const used = new Set(links.flatMap(({ from, to }) => [from, to]));
  return { nodes: [...nodes.values()].filter(({ key }) => used.has(key)), links };
}

/** What became of excess sun: metered for a site; for one app what its totals grew by in the last tick, if that was seen. [W] */
function excessOf(view, before) {
  if (view.site) return { export: view.site.export_w, curtailed: view.site.curtailed_w };
  if (!before || before.tick !== view.tick - 1) return {};
  const grown = (name) => ((view.apps[0].totals[name] - before.apps[0].totals[name]) * 3600) / view.last_dt_s;
  return { export: grown("exported_wh"), shared: grown("shared_wh"), curtailed: grown("curtailed_wh") };
}

/** Height of a watt, so that the fuller side just fits; small nodes take the room that their label needs. */
function scaleFor(sides, slot) {
  const taken = (sizes, scale) => sizes.reduce((sum, size) => sum + Math.max(size * scale, slot) + PAD, -PAD);
  let [low, high] = [0, 1 / Math.max(...sides.map((sizes) => sizes.reduce((a, b) => a + b, 0)))];
  for (let k = 0; k < 40; k++) {
    const middle = (low + high) / 2;
    if (sides.every((sizes) => taken(sizes, middle) <= 1)) low = middle;
    else high = middle;
  }
  return low;
}

/** Centres of a side's nodes, from top to bottom. */
function places(sizes, scale, slot) {
  const slots = sizes.map((size) => Math.max(size * scale, slot));
  let at = (1 - slots.reduce((sum, one) => sum + one + PAD, -PAD)) / 2;
  return slots.map((one) => {
    const centre = at + one / 2;
    at += one + PAD;
    return Math.min(Math.max(centre, 0.001), 0.999);
  });
}

export function flowChart(view, before, { height, em }) {
  const { nodes, links } = flowsOf(view, before);
  const margin = { l: 2, r: 2, t: 10, b: 10 };
  const inner = Math.max(height - margin.t - margin.b, 1);
  const slot = (SLOT_EM * em) / inner;
  const size = (key) => sumOf(links, ({ from, to, value }) => (from === key || to === key ? value : 0));
  const sides = [0, 1].map((side) => nodes.filter((node) => node.side === side));
  const sizes = sides.map((side) => side.map((node) => size(node.key)));
  const scale = scaleFor(sizes, slot);
  const centres = new Map(sides.flatMap((side, s) => places(sizes[s], scale, slot).map((centre, k) => [side[k].key, centre])));
  // The library makes nodes as high as its padding lets it; this one leads it to the same scale.
  const most = Math.max(...sides.map((side) => side.length));
  const pad = (inner * (1 - scale * sizes[0].reduce((a, b) => a + b, 0))) / Math.max(most - 1, 1);
  const index = new Map(nodes.map((node, k) => [node.key, k]));
  const label = (key) => chartText(nodes[index.get(key)].label, 18);
  const paint = (key) => colour(nodes[index.get(key)].paint);
  const trace = {
    type: "sankey",
    arrangement: "fixed",
    domain: { x: [0, 1], y: [0, 1] },
    node: {
      label: nodes.map((node) => `${label(node.key)}  ${quantity(size(node.key), "W")}`),
      color: nodes.map((node) => colour(node.paint)),
      x: nodes.map((node) => (node.side ? 0.999 : 0.001)),
      y: nodes.map((node) => centres.get(node.key)),
      pad,
      thickness: 1.1 * em,
      line: { width: 0 },
      hovertemplate: "%{label}<extra></extra>",
    },
    link: {
      source: links.map(({ from }) => index.get(from)),
      target: links.map(({ to }) => index.get(to)),
      value: links.map(({ value }) => value),
      color: links.map(({ from }) => translucent(paint(from), 0.38)),
      customdata: links.map(({ from, to, value }) => `${label(from)} → ${label(to)}: ${quantity(value, "W")}`),
      hovertemplate: "%{customdata}<extra></extra>",
    },
  };
  const summary = links.map(({ from, to, value }) => `${from} to ${to.replace(/^app /, "")} ${quantity(value, "W")}`).join(", ");
  return { traces: links.length ? [trace] : [], layout: { margin, hovermode: "closest" }, summary: summary || "No power flows." };
}
