// The server's API, as described in docs/serve.md. URLs are relative, so that the page also works behind a path.

import { events } from "./sse.js";

/** An error, with a message for the user. `status` is the HTTP status, or undefined if there was no response. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const LOST = "The server cannot be reached. Is it still running?";
const BROKE_OFF = "The connection was lost before the answer was complete. What had arrived is above.";

export class Api {
  /** The API key, if the server requires one. It is kept in memory only. */
  key = "";

  /** Resolves when questions can be answered; rejects with the reason. */
  async ready() {
    await this.#get("ready");
  }

  /** Returns the server's version. */
  async version() {
    return (await this.#get("version")).version;
  }

  /** Returns the names of the models, each with its policy. */
  async models() {
    const list = await this.#get("v1/models");
    return list.data.map((entry) => ({ name: entry.id, policy: entry.specthink?.policy }));
  }

  /** Returns the nodes and their state. */
  async nodes() {
    return (await this.#get("v1/nodes")).data;
  }

  /** Returns summaries of earlier answers, the last to end first; only those after `after`, if that is given. */
  async answers(limit, after) {
    return this.#get(`v1/answers?limit=${limit}${after ? `&after=${after}` : ""}`);
  }

  /** Yields the chunks of an earlier answer, as they were sent when it was written. */
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

/** Returns the error of a response that is not 2xx. */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? `The server answered with status ${response.status}.`;
  return new ApiError(message, response.status);
}
