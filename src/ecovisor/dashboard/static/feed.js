/* Keeps what is shown up to date: listens to the stream of events, asks for the snapshot when a tick has been told, and polls where the
   stream does not work. Whether the server is there is told by the snapshot alone; nothing is dropped when it goes away. */

import { Refusal } from "./api.js";

const LEAST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
const SILENT_STREAM_MS = 90_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Why there was no answer, for people. */
export function reasonOf(error) {
  if (error instanceof Refusal) return `the server answers ${error.status}: ${error.message}`;
  return error.name === "TimeoutError" ? "the server does not answer" : "the server cannot be reached";
}

export class Feed {
  #api;
  #path;
  #events;
  #etag = null;
  #asking = false;
  #again = false;
  #stopped = false;
  #streaming = false;
  #checked_ms = 0;
  #lastId;
  #period_ms = 2000;
  #on;

  /** `on`: `snapshot(value)`, `event(notification)`, `connection({lost, streaming, since, reason})`, `refused()`. */
  constructor(api, { snapshots, events }, lastId, on) {
    this.#api = api;
    this.#path = snapshots;
    this.#events = events;
    this.#lastId = lastId;
    this.#on = on;
  }

  start() {
    this.#listen();
    this.#watch();
  }

  stop() {
    this.#stopped = true;
  }

  /** Ask for the snapshot now, or once more after the question that is on its way. */
  async refresh() {
    if (this.#asking) {
      this.#again = true;
      return;
    }
    this.#asking = true;
    do {
      this.#again = false;
      await this.#once();
      await pause(LEAST_PAUSE_MS);
    } while (this.#again && !this.#stopped);
    this.#asking = false;
  }

  async #once() {
    try {
      const answer = await this.#api.getIfChanged(this.#path, this.#etag);
      this.#checked_ms = performance.now();
      if (this.#stopped) return;
      if (answer) {
        this.#etag = answer.etag;
        const wall = (1000 * answer.value.tick_s) / answer.value.compression;
        this.#period_ms = Math.min(Math.max(wall, 1000), LONGEST_PAUSE_MS);
        this.#on.snapshot(answer.value);
      }
      this.#tell(false);
    } catch (error) {
      if (this.#stopped) return;
      if (error instanceof Refusal && (error.status === 401 || error.status === 403)) {
        this.stop();
        this.#on.refused();
      } else {
        this.#tell(true, reasonOf(error));
      }
    }
  }

  #tell(lost, reason = "") {
    this.#on.connection({ lost, reason, streaming: this.#streaming });
  }

  /** The stream; when it ends, or cannot be had, try again, less and less often. */
  async #listen() {
    let wait = 500;
    while (!this.#stopped) {
      const leave = new AbortController();
      let silence = 0;
      const alive = () => {
        clearTimeout(silence);
        silence = setTimeout(() => leave.abort(), Math.max(SILENT_STREAM_MS, 3 * this.#period_ms));
        this.#streaming = true;
        wait = 500;
      };
      try {
        for await (const event of this.#api.events(this.#events, this.#lastId, leave.signal, alive)) {
          if (this.#stopped) leave.abort();
          this.#lastId = event.id;
          if (event.kind === "tick") this.refresh();
          else this.#on.event(event);
        }
      } catch {
        // Why it ended does not matter: the question for the snapshot, next, says whether the server is there.
      }
      clearTimeout(silence);
      this.#streaming = false;
      if (this.#stopped) return;
      this.refresh();
      await pause(wait);
      wait = Math.min(2 * wait, LONGEST_PAUSE_MS);
    }
  }

  /** Without news for longer than a tick takes, ask. */
  async #watch() {
    while (!this.#stopped) {
      const patience = this.#streaming ? 2 * this.#period_ms + 2000 : this.#period_ms;
      if (performance.now() - this.#checked_ms >= patience) await this.refresh();
      await pause(500);
    }
  }
}
