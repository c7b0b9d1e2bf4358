/* Numbers and times for people. The same rules as in the terminal (cli/live_tables.py); a test compares them. */

const NOTHING = "–";

/** Three figures without an exponent; what rounds to nothing is 0. */
export function figures(value) {
  const size = Math.abs(value);
  const decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  const text = value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return /^-?[0.]*$/.test(text) ? "0" : text.replace("-", "−");
}

/** A count or a factor: as many digits as it has, at most four. */
export const count = (value) => Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 6 });

/** A value with its unit, in kilo-units from 1000 up; null and NaN are "–". */
export function quantity(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return NOTHING;
  const kilo = Math.abs(value) >= 999.5 && unit !== "g/kWh";
  return `${figures(kilo ? value / 1000 : value)} ${kilo ? "k" : ""}${unit}`;
}

/** A part in percent; "–" of nothing. */
export function percent(part, whole) {
  return whole > 0 ? `${((100 * part) / whole).toFixed(0)} %` : NOTHING;
}

/** A span of time the way a person would say it. [s] */
export function duration(span) {
  if (span < 60) return `${Math.round(span * 10) / 10} s`;
  let minutes = Math.round(span / 60);
  const days = Math.floor(minutes / 1440);
  const hours = Math.floor((minutes % 1440) / 60);
  minutes %= 60;
  const parts = [[days, "d"], [hours, "h"], [minutes, "min"]].filter(([n]) => n).map(([n, unit]) => `${n} ${unit}`);
  return parts.slice(0, 2).join(" ") || "0 min";
}

const formats = new Map();

function format(zone, options) {
  const key = zone + JSON.stringify(options);
  if (!formats.has(key)) {
    let made;
    try {
      made = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
    } catch {
      made = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hourCycle: "h23", ...options });
    }
    formats.set(key, made);
  }
  return formats.get(key);
}

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** An instant in a zone: "Mon 01 Jun 2020, 08:15:00 GMT-7". [s since the epoch] */
export function dateAndTime(time_s, zone) {
  const options = { weekday: "short", day: "2-digit", month: "short", year: "numeric", ...CLOCK, timeZoneName: "short" };
  return format(zone, options).format(time_s * 1000);
}

/** Time of day in a zone; the browser's own where none is given. [s since the epoch] */
export function timeOfDay(time_s, zone) {
  return zone ? format(zone, CLOCK).format(time_s * 1000) : new Date(time_s * 1000).toLocaleTimeString("en-GB");
}

/** What to add to UTC for the zone's wall clock at an instant. [s] */
export function offsetOf(time_s, zone) {
  const parts = format(zone, { year: "numeric", month: "2-digit", day: "2-digit", ...CLOCK }).formatToParts(time_s * 1000);
  const of = Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(of.year, of.month - 1, of.day, of.hour, of.minute, of.second) / 1000 - Math.floor(time_s);
}

/** An offset as "UTC−7" or "UTC+5:30". [s] */
export function offsetName(offset) {
  const minutes = Math.round(Math.abs(offset) / 60);
  const rest = minutes % 60 ? `:${String(minutes % 60).padStart(2, "0")}` : "";
  return offset === 0 ? "UTC" : `UTC${offset < 0 ? "−" : "+"}${Math.floor(minutes / 60)}${rest}`;
}
