/* The REST interface, as this page needs it: reading with a deadline, one change, and the stream of events.

   The token goes into a header, which the browser's own EventSource cannot do; so the stream is read here. */

const DEADLINE_MS = 10_000;

/** The server refused; `status` says how. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Api {
  #token;

  constructor(token) {
    this.#token = token;
  }

  async #ask(path, { method = "GET", parameters = {}, body, headers = {}, signal } = {}) {
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
    const query = given.length ? `?${new URLSearchParams(given)}` : "";
    const answer = await fetch(path + query, {
      method,
      headers: { Authorization: `Bearer ${this.#token}`, ...headers },
      body,
      signal: signal ?? AbortSignal.timeout(DEADLINE_MS),
      cache: "no-store",
      credentials: "omit",
    });
    if (!answer.ok && answer.status !== 304) throw new Refusal(answer.status, await problem(answer));
    return answer;
  }

  /** The decoded answer. */
  async get(path, parameters) {
    return (await this.#ask(path, { parameters })).json();
  }

  /** The decoded answer and its tag, or null where nothing has changed since `etag`. */
  async getIfChanged(path, etag) {
    const answer = await this.#ask(path, { headers: etag ? { "If-None-Match": etag } : {} });
    return answer.status === 304 ? null : { value: await answer.json(), etag: answer.headers.get("ETag") };
  }

  async put(path, value) {
    await this.#ask(path, { method: "PUT", body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });
  }

  /** Events after an id, as they happen; ends when the server ends the stream. */
  async *events(path, lastId, signal, onAlive) {
    const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
    const answer = await this.#ask(path, { headers, signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onAlive();
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  }
}

async function problem(answer) {
  try {
    const told = await answer.json();
    return [told.detail, told.remedy].filter(Boolean).join("; ") || answer.statusText;
  } catch {
    return answer.statusText || `status ${answer.status}`;
  }
}
