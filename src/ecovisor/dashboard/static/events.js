/* What happened, newest first: everything that is told but the ticks themselves. */

import { byId, element } from "./dom.js";
import { dateAndTime, quantity } from "./format.js";

const MOST = 60;
const UNITS = { solar_change: "W", carbon_change: "g/kWh", battery_full: "Wh", battery_empty: "Wh" };
const ALARMS = new Set(["late", "gap", "budget_100", "overdraw", "container_exited"]);

export class Events {
  #zone = "UTC";

  clear(zone) {
    this.#zone = zone;
    byId("events").replaceChildren(element("li", { className: "none" }, "Nothing but ticks so far."));
  }

  add({ kind, app, tick, time, value, detail }) {
    const list = byId("events");
    list.querySelector(".none")?.remove();
    const unit = UNITS[kind];
    const amount = value === null || value === undefined ? "" : unit ? ` ${quantity(value, unit)}` : ` ${value}`;
    list.prepend(
      element("li", { className: ALARMS.has(kind) ? "alarm" : "" },
        element("b", {}, kind.replaceAll("_", " ")), ` ${app}${amount}${detail ? `: ${detail}` : ""}`,
        element("small", {}, `tick ${tick.toLocaleString("en-US")}, ${dateAndTime(Date.parse(time) / 1000, this.#zone)}`)),
    );
    while (list.children.length > MOST) list.lastElementChild.remove();
  }
}
