// The server's API, as docs/serve.md tells it. Addresses are relative, so that the page works behind a path, too.

import { events } from "./sse.js";

/** What went wrong, in words for the reader. `status` is the HTTP status, or absent where there was no response. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const LOST = "The server cannot be reached. Is it still running?";
const BROKE_OFF = "The connection was lost before the answer was whole. What had arrived is above.";

export class Api {
  /** The key that is shown, where the server wants one. It is kept in memory only. */
  key = "";

  /** Resolves when questions can be answered; rejects with the reason. */
  async ready() {
    await this.#get("ready");
  }

  /** The server's version. */
  async version() {
    return (await this.#get("version")).version;
  }

  /** The model names that may be asked for, each with its policy. */
  async models() {
    const list = await this.#get("v1/models");
    return list.data.map((entry) => ({ name: entry.id, policy: entry.specthink?.policy }));
  }

  /** The nodes and their state. */
  async nodes() {
    return (await this.#get("v1/nodes")).data;
  }

  /** Earlier answers at a glance, the last to end first; from the one behind `after` on. */
  async answers(limit, after) {
    return this.#get(`v1/answers?limit=${limit}${after ? `&after=${after}` : ""}`);
  }

  /** Yields the chunks of an earlier answer, as they were when it was written. */
  recall(id, signal) {
    return this.#chunks(`v1/answers/${id}?stream=true`, { signal });
  }

  /**
   * Asks, and yields the chunks of the answer. `request` is the body without `stream`.
   *
   * @param {AbortSignal} signal stops the answer, and both models with it
   */
  ask(request, signal) {
    return this.#chunks("v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...request, stream: true }),
      signal,
    });
  }

  async *#chunks(path, options) {
    const response = await this.#fetch(path, options);
    try {
      for await (const data of events(response.body)) {
        if (data === "[DONE]") return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ApiError(chunk.error.message);
        yield chunk;
      }
    } catch (error) {
      if (error instanceof ApiError || options.signal.aborted) throw error;
      throw new ApiError(BROKE_OFF);
    }
    throw new ApiError(BROKE_OFF);
  }

  async #get(path) {
    const response = await this.#fetch(path, { signal: AbortSignal.timeout(10_000) });
    return response.json();
  }

  async #fetch(path, options) {
    const headers = { ...options.headers };
    if (this.key) headers.authorization = `Bearer ${this.key}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(LOST);
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

/** What a response says that is not 2xx. */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? `The server answered with status ${response.status}.`;
  return new ApiError(message, response.status);
}
