/* Where the page begins: asks for a token, finds out whose it is, and opens a session with it. */

import { Api, Refusal } from "./api.js";
import { byId, element, say } from "./dom.js";
import { Events } from "./events.js";
import { reasonOf } from "./feed.js";
import { duration } from "./format.js";
import { showOffline } from "./head.js";
import { onSchemeChange } from "./palette.js";
import { Plot } from "./plot.js";
import { Session } from "./session.js";
import { Sun } from "./sun.js";
import { Tables } from "./tables.js";

const TOKEN = "ecovisor-token";
/** How apps' tokens begin; of others the server says whose they are. */
const APP_TOKEN = "eco_app_";
const WINDOWS_S = [3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600];
/** What charts over time show of an old site until somebody chooses; of a younger one, what there is. */
const USUAL_S = 24 * 3600;
/** The library moves flows to their new places for half a second, which costs more than all else. */
const FLOW_EVERY_MS = 2000;
/** A tick is a pixel of a day: charts over time need not follow every one. */
const TIMELINES_EVERY_MS = 3000;

/** What outlives a session: the parts of the page. */
class Page {
  session = null;
  attempt = 0;
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

  /** End the session; the number of the next attempt to begin one. */
  leave() {
    this.session?.end();
    this.session = null;
    this.attempt += 1;
    return this.attempt;
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
    const key = JSON.stringify([view.operator, names]);
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
  const attempt = page.leave();
  const api = new Api(token);
  for (let wait = 500; ; wait = Math.min(2 * wait, 10_000)) {
    try {
      const { operator, first } = await introduce(api, token);
      if (attempt !== page.attempt) return;
      showing(true);
      page.session = new Session(page, api, operator, first, () => askForToken("This token is not accepted any more."));
      return;
    } catch (error) {
      if (attempt !== page.attempt) return;
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
    page.leave();
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
