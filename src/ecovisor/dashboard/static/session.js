/* One visit with one token: what is known of the site, from its snapshots and its ledger, and what the page shows of it. */

import { byId, legend, say } from "./dom.js";
import { Feed } from "./feed.js";
import { flowChart } from "./flow.js";
import { showAge, showHead, showOffline, showSources, showTiles } from "./head.js";
import { History, METRICS, load } from "./history.js";
import { colour } from "./palette.js";
import { batteryChart, carbonChart, carbonLegend, signalsChart, sourcesChart } from "./timelines.js";
import { SITE, groupsOf, viewOf } from "./view.js";

/** Between two looks at the forecasts: site time, and wall time where that is compressed. */
const FORECAST_EVERY_S = 900;
const FORECAST_EVERY_MS = 10_000;
/** From a tick that was missed until the ledger is asked for it, and for those that followed. */
const FILL_AFTER_MS = 3000;
/** Ticks whose events are told when the page opens. */
const EVENTS_BEFORE = 200;

/** Lasts until the token is forgotten or refused. */
export class Session {
  #api;
  #operator;
  #feed;
  #view = null;
  #before = null;
  #history = null;
  #window_s = 0;
  #generation = 0;
  #loading = 0;
  #hole_s = null;
  #forecasts = {};
  #forecast_s = -Infinity;
  #asked_ms = -Infinity;
  #physical = [];
  #received_ms = 0;
  #connection = { lost: false, streaming: true, since_ms: 0, reason: "" };
  #ended = false;
  #refused;

  constructor(page, api, operator, first, refused) {
    this.page = page;
    this.#api = api;
    this.#operator = operator;
    this.#refused = refused;
    page.session = this;
    page.events.clear(first.timezone ?? "UTC");
    page.sun.use(api, () => this.#feed.refresh());
    this.#take(first);
    const paths = operator ? { snapshots: "/v1/admin/site", events: "/v1/admin/events" } : { snapshots: "/v1/energy", events: "/v1/events" };
    this.#feed = new Feed(api, paths, `${Math.max(first.tick - EVENTS_BEFORE, 0)}.0`, {
      snapshot: (snapshot) => this.#take(snapshot),
      event: (event) => page.events.add(event),
      connection: (state) => this.#connected(state),
      refused: () => this.#leave(),
    });
    this.#feed.start();
    this.clock = setInterval(() => showAge(this.#view, this.#connection, this.#received_ms), 1000);
  }

  end() {
    this.#ended = true;
    clearInterval(this.clock);
    this.#feed.stop();
  }

  #leave() {
    this.end();
    this.#refused();
  }

  #connected({ lost, streaming, reason }) {
    const since_ms = lost && this.#connection.lost ? this.#connection.since_ms : Date.now();
    this.#connection = { lost, streaming, reason, since_ms };
    showOffline(this.#view, this.#connection);
    showAge(this.#view, this.#connection, this.#received_ms);
  }

  // -- what is known

  #take(snapshot) {
    const view = viewOf(snapshot, this.#operator);
    const last = this.#view;
    const window_s = this.page.windowFor(view);
    const same = last && view.tick >= last.tick && view.name === last.name && view.tick_s === last.tick_s;
    const anew = !same || window_s !== this.#window_s;
    this.#window_s = window_s;
    if (!last || view.tick !== last.tick) this.#received_ms = performance.now();
    if (last?.tick !== view.tick) this.#before = last;
    this.#view = view;
    if (!same) {
      this.#forecasts = {};
      this.#forecast_s = -Infinity;
      this.#asked_ms = -Infinity;
    }
    if (anew) this.#begin();
    else if (view.tick !== last.tick) {
      this.#history.advance(view.now_s);
      this.#mind(view.now_s - view.last_dt_s - last.now_s, last.now_s);
    }
    if (view.tick !== last?.tick || anew) this.#remember();
    this.page.offer(view);
    this.#forecast();
    this.show();
  }

  #remember() {
    const { apps, site, tick_s, now_s } = this.#view;
    for (const app of apps) {
      const from_s = now_s - app.last_dt_s;
      const put = (metric, value) => this.#history.put(app.app, metric, from_s, app.last_dt_s, value);
      put("solar_to_load_w", app.load.solar_w);
      put("battery_discharge_w", app.load.battery_w);
      put("grid_to_load_w", app.load.grid_w);
      put("battery_level_wh", app.battery.level_wh);
      put("carbon_g", app.carbon.rate_g_per_h === null ? null : (app.carbon.rate_g_per_h * app.last_dt_s) / 3600);
      this.#history.put(app.app, "solar_w", now_s, tick_s, app.solar.power_w);
      this.#history.put(app.app, "carbon_intensity_g_per_kwh", now_s, tick_s, app.grid.carbon_intensity_g_per_kwh);
    }
    if (site) {
      this.#physical.push([now_s, site.battery_level_wh]);
      while (this.#physical.length > 2 && this.#physical[1][0] < this.#history.times()[0]) this.#physical.shift();
      if (this.#physical.length > 2000) this.#physical = this.#physical.filter((_, k) => k % 2 === 0);
    }
  }

  /** Ticks that were not seen leave a hole, which the ledger fills, together with those that follow soon. */
  #mind(unseen_s, since_s) {
    if (unseen_s < this.#history.step_s / 2) return;
    if (this.#hole_s === null && !this.#loading) setTimeout(() => this.#fillHole(), FILL_AFTER_MS);
    this.#hole_s = Math.min(this.#hole_s ?? Infinity, since_s);
  }

  #fillHole() {
    if (this.#hole_s === null || this.#ended) return;
    const since_s = this.#hole_s;
    this.#hole_s = null;
    this.#load(since_s);
  }

  #begin() {
    const { now_s, tick_s } = this.#view;
    this.#history = new History(now_s, tick_s, this.#window_s);
    this.#physical = [];
    this.#hole_s = null;
    this.#load(-Infinity);
  }

  /** The ledger's part of the window, from an instant on: chart by chart, from the top of the page. */
  #load(since_s) {
    const generation = ++this.#generation;
    const { apps, now_s } = this.#view;
    const intensityOf = apps[apps.length - 1].app;
    const wanted = [{ app: intensityOf, metric: "carbon_intensity_g_per_kwh", until_s: now_s + this.#view.tick_s }];
    for (const metric of Object.keys(METRICS)) {
      if (metric !== "carbon_intensity_g_per_kwh") wanted.push(...apps.map(({ app }) => ({ app, metric, until_s: now_s })));
    }
    this.#loading = wanted.length;
    load(this.#api, this.#history, wanted, since_s, this.#operator, () => generation === this.#generation && !this.#ended, (left) => {
      this.#loading = left;
      if (left % 10 === 0) this.show();
      if (left === 0) this.#fillHole();
    });
  }

  async #forecast() {
    const { now_s } = this.#view;
    const now_ms = performance.now();
    if (now_s - this.#forecast_s < FORECAST_EVERY_S || now_ms - this.#asked_ms < FORECAST_EVERY_MS) return;
    this.#forecast_s = now_s;
    this.#asked_ms = now_ms;
    const ask = async (signal) => {
      try {
        return await this.#forecastOf(signal);
      } catch {
        return null;
      }
    };
    const [carbon, solar] = await Promise.all([ask("carbon"), ask("solar")]);
    this.#forecasts = { carbon, solar };
    this.show();
  }

  /** The site's sun is an app's, over its share of the array. */
  async #forecastOf(signal) {
    const path = `/v1/forecast/${signal}`;
    if (!this.#operator) return this.#api.get(path, { horizon: "24h" });
    if (signal === "carbon") return this.#api.get(path, { horizon: "24h", app: SITE });
    const entries = await this.#api.get("/v1/admin/apps");
    const [most] = entries.sort((a, b) => b.shares.solar - a.shares.solar);
    if (!most || most.shares.solar <= 0) return null;
    const answer = await this.#api.get(path, { horizon: "24h", app: most.name });
    return { ...answer, values: answer.values.map((value) => (value === null ? null : value / most.shares.solar)) };
  }

  // -- what is shown

  /** The window has been chosen. */
  choose() {
    this.#window_s = this.page.windowFor(this.#view);
    this.#begin();
    this.#remember();
    this.show(true);
  }

  /** `urgent`: somebody has asked for it. */
  show(urgent = false) {
    if (this.#ended) return;
    const view = this.#view;
    const { plots, tables, sun } = this.page;
    showHead(view, this.#connection, this.#received_ms);
    showTiles(view);
    showSources(view);
    tables.show(view);
    sun.show(view);
    const painted = (group) => ({ label: group.label, colour: colour(group.colour) });
    legend(byId("sources-legend"), ["solar", "battery", "grid"].map((label) => ({ label, colour: colour(label) })));
    legend(byId("battery-legend"), [...groupsOf(view.apps).map(painted), ...(view.site ? [{ label: "physical", colour: colour("ink"), line: "solid" }] : [])]);
    legend(byId("carbon-legend"), carbonLegend(view));
    say(byId("sources-foot"), this.#loading ? `Reading the ledger, ${this.#loading} series left …` : "");
    const of = byId("sources-of").value;
    const apps = of && view.apps.some((app) => app.app === of) ? [of] : view.apps.map((app) => app.app);
    const draw = (name, make) => {
      plots[name].draw((size) => {
        const made = make(size);
        if (made.foot) say(byId(`${name}-foot`), made.foot);
        return made;
      }, urgent);
    };
    draw("flow", (size) => flowChart(view, this.#before, size));
    draw("signals", (size) => signalsChart(view, this.#history, this.#forecasts, size));
    draw("sources", (size) => sourcesChart(view, this.#history, apps, size));
    draw("battery", (size) => batteryChart(view, this.#history, this.#physical, size));
    draw("carbon", (size) => carbonChart(view, this.#history, size));
  }
}
