/* The last hours, in bins of equal length: filled from the ledger when the page opens, and tick by tick from then on.

   An unknown value is NaN and stays a gap; a bin's power is the mean of what is known of it, weighted by time. */

/** Columns of the ledger that are kept, and what a bin is made of: the mean of power, the last level, the sum of amounts. */
export const METRICS = {
  solar_to_load_w: "mean",
  battery_discharge_w: "mean",
  grid_to_load_w: "mean",
  solar_w: "mean",
  battery_level_wh: "last",
  carbon_g: "sum",
  carbon_intensity_g_per_kwh: "last",
};

class Bins {
  /** `since_s`: from when on all that is to be known is here. */
  constructor(count, since_s) {
    this.since_s = since_s;
    this.values = new Float64Array(count).fill(NaN);
    this.known_s = new Float64Array(count);
  }

  shift(by) {
    for (const [array, empty] of [[this.values, NaN], [this.known_s, 0]]) {
      array.copyWithin(0, by);
      array.fill(empty, Math.max(array.length - by, 0));
    }
  }

  put(k, kind, value, span_s) {
    const before = this.known_s[k];
    if (kind === "mean") this.values[k] = before > 0 ? (this.values[k] * before + value * span_s) / (before + span_s) : value;
    else if (kind === "sum") this.values[k] = (before > 0 ? this.values[k] : 0) + value;
    else this.values[k] = value;
    this.known_s[k] = before + span_s;
  }
}

export class History {
  #series = new Map();

  /** Bins for `window_s` up to now, whole ticks each. */
  constructor(now_s, tick_s, window_s, most = 480) {
    this.step_s = tick_s * Math.max(1, Math.ceil(window_s / most / tick_s));
    this.count = Math.ceil(window_s / this.step_s) + 1;
    this.first = Math.floor(now_s / this.step_s) - this.count + 1;
  }

  /** Starts of the bins. [s since the epoch] */
  times() {
    return Array.from({ length: this.count }, (_, k) => (this.first + k) * this.step_s);
  }

  /** One app's values by bin, or null where nothing was ever put. */
  values(app, metric) {
    return this.#series.get(`${metric} ${app}`)?.values ?? null;
  }

  /** Sum over apps; NaN where none of them is known, or the ledger has not answered for all of them yet. */
  sum(apps, metric, of = (bins, k) => bins.values[k]) {
    const total = new Float64Array(this.count).fill(NaN);
    let from = 0;
    for (const app of apps) {
      const bins = this.#series.get(`${metric} ${app}`);
      if (!bins) continue;
      from = Math.max(from, Math.floor(bins.since_s / this.step_s) - this.first);
      for (let k = 0; k < this.count; k++) {
        const value = of(bins, k);
        if (!Number.isNaN(value)) total[k] = Number.isNaN(total[k]) ? value : total[k] + value;
      }
    }
    return total.fill(NaN, 0, Math.min(from, this.count));
  }

  /** Sum over apps of an amount per hour. */
  rates(apps, metric) {
    return this.sum(apps, metric, (bins, k) => (bins.known_s[k] > 0 ? (bins.values[k] * 3600) / bins.known_s[k] : NaN));
  }

  /** What is known of `[time_s, time_s + span_s)`, spread over the bins that it touches. */
  put(app, metric, time_s, span_s, value) {
    if (value === null || value === undefined) return;
    const kind = METRICS[metric];
    let at_s = time_s;
    const end_s = time_s + span_s;
    while (at_s < end_s - 1e-6) {
      const bin = Math.floor(at_s / this.step_s + 1e-9);
      const until_s = Math.min((bin + 1) * this.step_s, end_s);
      const part = (until_s - at_s) / span_s;
      const k = bin - this.first;
      if (k >= 0 && k < this.count) this.#bins(app, metric, at_s).put(k, kind, kind === "sum" ? value * part : value, until_s - at_s);
      at_s = until_s;
    }
  }

  /** Go on to an instant: the oldest bins make room. */
  advance(now_s) {
    const by = Math.floor(now_s / this.step_s) - (this.first + this.count - 1);
    if (by <= 0) return;
    this.first += by;
    for (const bins of this.#series.values()) bins.shift(by);
  }

  /** An answer of the ledger, which takes the place of what was known before `until_s`. */
  fill(answer, until_s) {
    const bins = this.#bins(answer.app, answer.metric, -Infinity);
    bins.since_s = -Infinity;
    const kind = METRICS[answer.metric];
    const cleared = new Set();
    answer.values.forEach((value, j) => {
      const from_s = answer.start_s + j * answer.step_s;
      const span_s = Math.min(answer.step_s, until_s - from_s);
      const k = Math.floor((from_s + span_s / 2) / this.step_s) - this.first;
      if (value === null || span_s <= 0 || k < 0 || k >= this.count) return;
      if (!cleared.has(k)) {
        bins.known_s[k] = 0;
        cleared.add(k);
      }
      bins.put(k, kind, value, span_s);
    });
  }

  /** The ledger will not answer: what is here is all. */
  giveUp(app, metric) {
    this.#bins(app, metric, -Infinity).since_s = -Infinity;
  }

  #bins(app, metric, since_s) {
    const key = `${metric} ${app}`;
    if (!this.#series.has(key)) this.#series.set(key, new Bins(this.count, since_s));
    return this.#series.get(key);
  }
}

const AT_A_TIME = 4;
const MOST_PATIENCE_MS = 30_000;

/** Ask the ledger for many series from an instant on, a few at a time; `done` after each. What is refused is left out; asked too often, it waits. */
export async function load(api, history, wanted, since_s, operator, stillWanted, done) {
  const end_s = (history.first + history.count) * history.step_s;
  const queue = [...wanted];
  const one = async ({ app, metric, until_s }) => {
    const start = new Date(Math.max(history.first * history.step_s, since_s) * 1000).toISOString();
    const parameters = { metric, start, end: new Date(Math.min(until_s, end_s) * 1000).toISOString(), step: history.step_s };
    const answer = await patiently(() => api.get("/v1/history", operator ? { ...parameters, app } : parameters));
    if (!stillWanted()) return;
    if (answer) history.fill(answer, until_s);
    else history.giveUp(app, metric);
  };
  let left = queue.length;
  const worker = async () => {
    while (queue.length && stillWanted()) {
      await one(queue.shift());
      left -= 1;
      if (stillWanted()) done(left);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
}

async function patiently(ask) {
  for (let wait = 500; wait <= MOST_PATIENCE_MS; wait *= 2) {
    try {
      return await ask();
    } catch (error) {
      if (error.status !== 429 && error.status !== 503) return null;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  return null;
}
