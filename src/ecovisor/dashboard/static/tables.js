/* The tables: apps, battery set-points, containers. */

import { byId, element, say } from "./dom.js";
import { count, figures, percent, quantity } from "./format.js";
import { LiveTable, bar } from "./live_table.js";
import { SITE } from "./view.js";

const siteLast = (a, b) => Number((a.app ?? a) === SITE) - Number((b.app ?? b) === SITE);
const MOST_CONTAINERS = 400;

const watts = (title, value) => ({ title, number: true, text: (row) => quantity(value(row), "W"), sort: value });

const sourceBar = {
  title: "Sun, battery, grid",
  show(cell, { load }) {
    const parts = [
      { part: load.solar_w, className: "solar" }, { part: load.battery_w, className: "battery" }, { part: load.grid_w, className: "grid" },
    ];
    const total = load.solar_w + load.battery_w + load.grid_w;
    const label = total > 0 ? `${percent(load.solar_w, total)} sun, ${percent(load.battery_w, total)} battery, ${percent(load.grid_w, total)} grid` : "no load";
    bar(cell, parts, total, label);
  },
};

const levelBar = {
  title: "Level",
  sort: (app) => app.battery.level_wh,
  show(cell, { battery }) {
    if (battery.capacity_wh <= 0) say(cell, "none");
    else bar(cell, [{ part: battery.level_wh, className: "battery" }], battery.capacity_wh, percent(battery.level_wh, battery.capacity_wh));
  },
};

const named = { title: "App", text: (app) => app.app, sort: (app) => app.app };
const gridShare = (app) => (app.totals.load_wh > 0 ? app.totals.grid_to_load_wh / app.totals.load_wh : null);

function budget(cell, { carbon }) {
  if (!carbon.budget) {
    say(cell, "–");
    return;
  }
  const { spent_g, budget_g, enforced } = carbon.budget;
  say(cell, `${percent(spent_g, budget_g)} of ${quantity(budget_g, "g")}${enforced ? "" : " (accounted)"}`);
  cell.classList.toggle("alarm", spent_g >= budget_g);
}

function progress({ progress: { work_done, work_total } }) {
  if (work_total > 0) return percent(Math.min(work_done, work_total), work_total);
  return work_done > 0 ? count(work_done) : "–";
}

const metricsOf = ({ progress: { metrics } }) =>
  Object.entries(metrics).slice(0, 6).map(([name, value]) => `${name.slice(0, 24)} ${count(value)}`).join(", ") || "–";

export class Tables {
  #apps = new LiveTable(byId("apps"), "Power, carbon and progress of every app", [
    named,
    watts("Power", (app) => app.load.power_w),
    sourceBar,
    watts("Sun", (app) => app.load.solar_w),
    watts("Battery", (app) => app.load.battery_w),
    watts("Grid", (app) => app.load.grid_w),
    { title: "Carbon rate", number: true, text: (app) => quantity(app.carbon.rate_g_per_h, "g/h"), sort: (app) => app.carbon.rate_g_per_h },
    { title: "Carbon", number: true, text: (app) => quantity(app.carbon.total_g, "g"), sort: (app) => app.carbon.total_g },
    { title: "Budget", show: budget, number: true },
    { title: "Grid share", number: true, sort: gridShare, text: (app) => percent(app.totals.grid_to_load_wh, app.totals.load_wh) },
    { title: "Overdraw", number: true, text: (app) => quantity(app.load.overdraw_w, "W"), sort: (app) => app.load.overdraw_w },
    { title: "Progress", number: true, text: progress },
    { title: "The app says", text: metricsOf },
  ], { last: siteLast });

  #setPoints = new LiveTable(byId("setpoints"), "Battery levels and set-points of every app", [
    named,
    levelBar,
    { title: "Wh", number: true, text: (app) => figures(app.battery.level_wh), sort: (app) => app.battery.level_wh },
    { title: "Now", number: true, text: ({ battery }) => flowNow(battery), sort: ({ battery }) => battery.charge_w - battery.discharge_w },
    { title: "Charge at", number: true, text: ({ battery }) => `${figures(battery.charge_rate_w)} of ${quantity(battery.charge_limit_w, "W")}`, sort: ({ battery }) => battery.charge_rate_w },
    { title: "Discharge ≤", number: true, text: discharge },
  ], { last: siteLast });

  #containers = new LiveTable(byId("containers"), "Power of every container against its cap", [
    { title: "App", text: (row) => row.app, sort: (row) => row.app },
    { title: "Container", text: (row) => row.id, sort: (row) => row.id },
    { title: "State", show: showState, sort: (row) => row.state },
    watts("Power", (row) => row.power_w),
    { title: "Power of cap", show: showCap },
    { title: "Cap", number: true, text: (row) => (row.cap_w === null ? "none" : quantity(row.cap_w, "W")), sort: (row) => row.cap_w },
    { title: "Cores", number: true, text: (row) => count(row.cores), sort: (row) => row.cores },
    { title: "Command", text: (row) => row.command || "–" },
    { title: "Power is", text: (row) => row.quality },
  ], { last: siteLast });

  #view = null;

  constructor() {
    byId("containers-filter").addEventListener("input", () => this.#view && this.#showContainers());
  }

  show(view) {
    this.#view = view;
    this.#apps.show(view.apps, (app) => app.app);
    say(byId("apps-note"), view.operator ? `${view.apps.length - 1} apps and the site’s own` : "");
    this.#setPoints.show(view.apps, (app) => app.app);
    this.#showContainers();
  }

  #showContainers() {
    const asked = byId("containers-filter").value.trim().toLowerCase();
    const all = this.#view.apps.flatMap((app) => app.containers.map((container) => ({ app: app.app, ...container })));
    const found = all.filter((row) => !asked || `${row.app} ${row.id} ${row.state}`.toLowerCase().includes(asked));
    const most_w = Math.max(...found.map((row) => row.power_w), 0);
    const rows = found.slice(0, MOST_CONTAINERS).map((row) => ({ ...row, most_w }));
    this.#containers.show(rows, (row) => JSON.stringify([row.app, row.id]));
    const hidden = found.length - rows.length;
    const foot = `${found.length} of ${all.length} containers${hidden ? `, the first ${rows.length} shown` : ""}. The bar is power against its cap; without a cap, against the largest power here. The tick on it is its idle power, the least a cap can be.`;
    say(byId("containers-foot"), foot);
  }
}

function flowNow({ charge_w, discharge_w }) {
  const flows = [["↑", charge_w], ["↓", discharge_w]].filter(([, power]) => power >= 0.005);
  return flows.map(([arrow, power]) => `${arrow} ${quantity(power, "W")}`).join(" ") || "–";
}

function discharge({ battery: { max_discharge_w, discharge_limit_w } }) {
  return `${max_discharge_w === null ? "all" : figures(max_discharge_w)} of ${quantity(discharge_limit_w, "W")}`;
}

function showState(cell, { state, exit_code }) {
  if (!cell.firstElementChild) cell.append(element("span"));
  const shown = cell.firstElementChild;
  shown.className = `state ${/^[a-z]+$/.test(state) ? state : ""}`;
  say(shown, exit_code ? `${state} ${exit_code}` : state);
}

function showCap(cell, { power_w, cap_w, floor_w, most_w }) {
  const whole = cap_w ?? most_w;
  const over = cap_w !== null && power_w > cap_w * 1.01 + 0.005;
  const className = over ? "over" : cap_w === null ? "free" : "capped";
  const label = cap_w === null ? "not capped" : `${percent(power_w, cap_w)} of its cap${over ? ", above it" : ""}`;
  bar(cell, [{ part: power_w, className }, { part: floor_w, className: "floor" }], whole, label);
}
