/* The line at the top, the figures of now, and everything that is not as it should be. */

import { byId, element, say } from "./dom.js";
import { count, dateAndTime, duration, percent, quantity, timeOfDay } from "./format.js";
import { knownSum, sumOf } from "./view.js";

/** Wall time without a tick after which people are told. [s] */
const patience = (view) => 3 * (view.tick_s / view.compression) + 5;

/** `{label, kind, title}` of each thing that people should know; kind: `ok`, `warn` or `bad`. */
export function badgesOf(view, connection, silence_s) {
  const badges = [];
  const add = (kind, label, title = "") => badges.push({ kind, label, title });
  if (connection.lost) add("bad", "disconnected", connection.reason);
  else if (!connection.streaming) add("warn", "polling", "The stream of events does not work; asking again and again instead.");
  if (!connection.lost && silence_s > patience(view)) add("bad", `no tick for ${duration(silence_s)}`, "The site answers, but nothing new is published.");
  for (const { name, quality, age_s, detail } of view.sources) {
    if (quality === "stale" || quality === "missing") add(quality === "stale" ? "warn" : "bad", `${name} ${quality}, ${duration(age_s)} old`, detail);
  }
  if (view.last_dt_s > 1.01 * view.tick_s) add("warn", `last tick took ${duration(view.last_dt_s)}`, `instead of ${duration(view.tick_s)}`);
  const failed = sumOf(view.apps, (app) => app.containers.filter((container) => container.state === "failed").length);
  if (failed) add("bad", `${failed} container${failed > 1 ? "s" : ""} failed`);
  const overdraw = sumOf(view.apps, (app) => app.load.overdraw_w);
  if (overdraw >= 0.005) add("warn", `overdraw ${quantity(overdraw, "W")}`, "Drawn beyond what the apps’ supply allows, and billed.");
  if (view.intensity === null) add("bad", "carbon unknown", "What is imported now is counted as energy of unknown carbon.");
  if (view.site) {
    if (view.site.sun_ratio !== 1) add("warn", `sun ×${count(view.site.sun_ratio)}`, "The emulated sun is scaled.");
    add(view.site.late_ticks ? "warn" : "ok", `late ticks ${view.site.late_ticks}`, "since the start");
    add(view.site.gaps ? "warn" : "ok", `gaps ${view.site.gaps}`, "since the start");
    const residual = view.site.residual_wh;
    add("ok", `residual ${residual === 0 ? "0" : residual.toExponential(1)} Wh`, "What the apps’ flows and the physical meters differ by, at most, since the start.");
  }
  return badges;
}

export function showHead(view, connection, received_ms) {
  say(byId("site-name"), view.name);
  say(byId("tick"), view.tick.toLocaleString("en-US"));
  byId("tick").dataset.value = view.tick;
  say(byId("site-time"), dateAndTime(view.now_s, view.zone));
  say(byId("pace"), `ticks of ${duration(view.tick_s)}${view.compression === 1 ? "" : `, time ×${count(view.compression)}`}`);
  say(byId("role"), view.operator ? "operator" : "app");
  showAge(view, connection, received_ms);
  document.title = `${view.name} · ecovisor`;
}

/** What changes without a tick: how old the figures are, and what follows from it. */
export function showAge(view, connection, received_ms) {
  const silence_s = (performance.now() - received_ms) / 1000;
  say(byId("wall-time"), timeOfDay(view.wall_s));
  say(byId("wall-age"), silence_s < 2 ? "just now" : `${duration(Math.round(silence_s))} ago`);
  const badges = badgesOf(view, connection, silence_s);
  const target = byId("badges");
  const key = JSON.stringify(badges);
  if (target.dataset.key !== key) {
    target.dataset.key = key;
    target.replaceChildren(...badges.map(({ kind, label, title }) => element("li", { className: `badge ${kind}`, title }, label)));
  }
}

/** The banner while the server cannot be reached. */
export function showOffline(view, connection) {
  const banner = byId("offline");
  banner.hidden = !connection.lost;
  if (!connection.lost) return;
  const data = view ? ` Last data: tick ${view.tick.toLocaleString("en-US")}, ${dateAndTime(view.now_s, view.zone)} site time.` : "";
  say(banner, `Disconnected since ${timeOfDay(connection.since_ms / 1000)} (${connection.reason}).${data} Trying again …`);
}

/** The sources that the site reads, in the last line. */
export function showSources(view) {
  const target = byId("source-states");
  target.hidden = !view.site;
  if (!view.site) return;
  const parts = view.site.sources.map(({ name, quality, age_s, detail }) => `${name}: ${detail} (${quality}, ${duration(age_s)})`);
  say(target, `Containers: ${view.site.platform}. ${parts.join(" · ")}`);
}

// -- figures of now

function tilesOf(view) {
  const total = sumOf(view.apps, (app) => app.carbon.total_g);
  const rate = knownSum(view.apps, (app) => app.carbon.rate_g_per_h);
  const load = sumOf(view.apps, (app) => app.totals.load_wh);
  const fromGrid = sumOf(view.apps, (app) => app.totals.grid_to_load_wh);
  const coming = sumOf(view.apps, (app) => app.solar.power_w);
  const carbon = { key: "carbon", title: "Carbon", paint: "carbon", value: rate, unit: "g/h", more: `${quantity(total, "g")} in total` };
  const share = { key: "grid_share", title: "Grid share", paint: "grid", text: percent(fromGrid, load), more: `of ${quantity(load, "Wh")} served` };
  const intensity = { key: "intensity", title: "Intensity", paint: "carbon", value: view.intensity, unit: "g/kWh", more: "of the grid, coming tick" };
  if (view.site) {
    const site = view.site;
    const flows = [["↑", site.battery_charge_w], ["↓", site.battery_discharge_w]].filter(([, power]) => power >= 0.005);
    const flow = flows.map(([arrow, power]) => `${arrow} ${quantity(power, "W")}`).join(" ") || "resting";
    return [
      { key: "solar", title: "Sun", paint: "solar", value: site.solar_w, unit: "W", more: site.curtailed_w >= 0.005 ? `${quantity(site.curtailed_w, "W")} curtailed` : "collected" },
      { key: "grid", title: "Grid", paint: "grid", value: site.import_w, unit: "W", more: site.export_w >= 0.005 ? `exporting ${quantity(site.export_w, "W")}` : "imported, metered" },
      { key: "battery", title: "Battery", paint: "battery", value: site.battery_level_wh, unit: "Wh", more: `${percent(site.battery_level_wh, site.battery_capacity_wh)}, ${flow}` },
      { key: "load", title: "Load", paint: "load", value: site.node_power_w, unit: "W", more: `${view.apps.length - 1} apps` },
      intensity, carbon, share,
    ];
  }
  const app = view.apps[0];
  const limit = app.grid.limit_w === null ? "unlimited" : `of ${quantity(app.grid.limit_w, "W")}`;
  return [
    { key: "solar", title: "Sun", paint: "solar", value: coming, unit: "W", more: `coming tick, ${app.solar.quality}` },
    { key: "grid", title: "Grid", paint: "grid", value: app.grid.power_w, unit: "W", more: limit },
    { key: "battery", title: "Battery", paint: "battery", value: app.battery.level_wh, unit: "Wh", more: `${percent(app.battery.level_wh, app.battery.capacity_wh)} of ${quantity(app.battery.capacity_wh, "Wh")}` },
    { key: "load", title: "Load", paint: "load", value: app.load.power_w, unit: "W", more: app.load.cap_w === null ? "not capped" : `cap ${quantity(app.load.cap_w, "W")}` },
    intensity, carbon, share,
  ];
}

export function showTiles(view) {
  const tiles = tilesOf(view);
  const target = byId("tiles");
  if (target.children.length !== tiles.length) {
    target.replaceChildren(...tiles.map(({ key, title, paint }) =>
      element("div", { className: `tile ${paint}`, id: `tile-${key}` },
        element("h3", {}, title), element("p", { className: "value" }), element("p", { className: "more" }))));
  }
  tiles.forEach(({ value, unit, text, more }, k) => {
    const tile = target.children[k];
    say(tile.children[1], text ?? quantity(value, unit));
    say(tile.children[2], more);
  });
}
