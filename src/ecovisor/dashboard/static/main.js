/* Where the page begins: asks for a token, finds out whose it is, and shows what the feed brings. */

import { Api, Refusal } from "./api.js";
import { byId, element, legend, say } from "./dom.js";
import { Events } from "./events.js";
import { Feed, reasonOf } from "./feed.js";
import { flowChart } from "./flow.js";
import { duration } from "./format.js";
import { showAge, showHead, showOffline, showSources, showTiles } from "./head.js";
import { History, METRICS, load } from "./history.js";
import { colour, onSchemeChange } from "./palette.js";
import { Plot } from "./plot.js";
import { Sun } from "./sun.js";
import { Tables } from "./tables.js";
import { batteryChart, carbonChart, carbonLegend, signalsChart, sourcesChart } from "./timelines.js";
import { SITE, groupsOf, viewOf } from "./view.js";

const TOKEN = "ecovisor-token";
/** How apps' tokens begin; of others the server says whose they are. */
const APP_TOKEN = "eco_app_";
const WINDOWS_S = [3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600];
/** What charts over time show of an old site until somebody chooses; of a younger one, what there is. */
const USUAL_S = 24 * 3600;
const FORECAST_EVERY_S = 900;
/** From a tick that was missed until the ledger is asked for it, and for those that followed. */
const FILL_AFTER_MS = 3000;
/** The library moves flows to their new places for half a second, which costs more than all else. */
const FLOW_EVERY_MS = 2000;
/** A tick is a pixel of a day: charts over time need not follow every one. */
const TIMELINES_EVERY_MS = 3000;
/** Ticks whose events are told when the page opens. */
const EVENTS_BEFORE = 200;

/** One visit with one token, until it is forgotten or refused. */
class Session {
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
    this.#forecasts = {};
    this.#forecast_s = -Infinity;
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
    if (now_s - this.#forecast_s < FORECAST_EVERY_S) return;
    this.#forecast_s = now_s;
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

/** What outlives a session: the parts of the page. */
class Page {
  session = null;
  events = new Events();
  tables = new Tables();
  sun = new Sun();
  plots = {
    flow: new Plot(byId("flow"), FLOW_EVERY_MS),
    ...Object.fromEntries(["signals", "sources", "battery", "carbon"].map((name) => [name, new Plot(byId(name), TIMELINES_EVERY_MS)])),
  };
  #offered = "";
  #window_s = 0;

  constructor() {
    const spans = byId("window");
    spans.append(...WINDOWS_S.map((span) => element("option", { value: span }, duration(span))));
    spans.addEventListener("change", () => {
      this.#window_s = Number(spans.value);
      this.session?.choose();
    });
    byId("sources-of").addEventListener("change", () => this.session?.show(true));
    onSchemeChange(() => this.session?.show());
  }

  /** How far back charts go. [s] */
  windowFor({ tick, tick_s }) {
    const window_s = this.#window_s || WINDOWS_S.find((span) => span >= Math.min(tick * tick_s, USUAL_S));
    byId("window").value = window_s;
    return window_s;
  }

  /** Apps to choose from. */
  offer(view) {
    const names = view.apps.map((app) => app.app);
    const key = JSON.stringify(names);
    if (key === this.#offered) return;
    this.#offered = key;
    const choice = byId("sources-of");
    const before = choice.value;
    const whole = view.operator ? [element("option", { value: "" }, "the whole site")] : [];
    choice.replaceChildren(...whole, ...names.map((name) => element("option", { value: name }, name)));
    if (names.includes(before)) choice.value = before;
  }
}

// -- the token

function tokenFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    history.replaceState(null, "", location.pathname + location.search);
    sessionStorage.setItem(TOKEN, given);
  }
  return sessionStorage.getItem(TOKEN);
}

function showing(panels) {
  byId("panels").hidden = !panels;
  byId("bar").hidden = !panels;
  byId("login").hidden = panels;
  byId("offline").hidden = true;
  if (!panels) {
    byId("source-states").hidden = true;
    document.title = "ecovisor";
  }
}

function askForToken(problem = "") {
  sessionStorage.removeItem(TOKEN);
  showing(false);
  say(byId("login-problem"), problem);
  byId("token").value = "";
  byId("token").focus();
}

/** Whose token it is: `{operator, first}`, the first snapshot with it. */
async function introduce(api, token) {
  try {
    if (!token.startsWith(APP_TOKEN)) return { operator: true, first: await api.get("/v1/admin/site") };
  } catch (error) {
    if (!(error instanceof Refusal) || error.status !== 403) throw error;
  }
  return { operator: false, first: await api.get("/v1/energy") };
}

async function open(page, token) {
  page.session?.end();
  const api = new Api(token);
  for (let wait = 500; ; wait = Math.min(2 * wait, 10_000)) {
    try {
      const { operator, first } = await introduce(api, token);
      showing(true);
      page.session = new Session(page, api, operator, first, () => askForToken("This token is not accepted any more."));
      return;
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) {
        askForToken("This token is not accepted.");
        return;
      }
      showOffline(null, { lost: true, since_ms: Date.now(), reason: reasonOf(error) });
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function main() {
  const page = new Page();
  byId("login-form").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const token = byId("token").value.trim();
    sessionStorage.setItem(TOKEN, token);
    open(page, token);
  });
  byId("sign-out").addEventListener("click", () => {
    page.session?.end();
    askForToken();
  });
  addEventListener("hashchange", () => {
    const before = sessionStorage.getItem(TOKEN);
    const token = tokenFromAddress();
    if (token && token !== before) open(page, token);
  });
  const token = tokenFromAddress();
  if (token) open(page, token);
  else askForToken();
}

main();
