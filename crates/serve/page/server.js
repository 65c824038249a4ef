// Shows whether the server can answer, at the top of the page, and its nodes, at the bottom.

import { NodeList } from "./nodes.js";

/** How often the server is polled, in milliseconds; never while the page is hidden. */
const EVERY_MS = 10_000;

export class ServerState {
  #api;
  #controls;
  #state = document.querySelector("#server");
  #words = document.querySelector("#server-words");
  #keyRow = document.querySelector("#key-row");
  #introduced;
  #isIntroduced = false;
  #nodes = new NodeList();
  #timer;

  /** @param {() => void} introduced called once the server has reported its version and models */
  constructor(api, controls, introduced) {
    this.#api = api;
    this.#introduced = introduced;
    this.#controls = controls;
    document.querySelector("#base").textContent = new URL("v1", document.baseURI).href;
    document.querySelector("#key").addEventListener("change", ({ target }) => {
      api.key = target.value.trim();
      this.ask();
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.ask());
  }

  /** Polls the server now, and again from time to time. */
  async ask() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      await this.#introduce();
      this.#nodes.show(await this.#api.nodes());
      await this.#api.ready();
      this.#show("ready", "ready");
    } catch (error) {
      if (error.status === 401) this.wantKey();
      else this.#show("away", error.message);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ask(), EVERY_MS);
  }

  /** Asks the user for an API key. */
  wantKey() {
    this.#keyRow.hidden = false;
    this.#show("away", this.#api.key ? "The server does not accept this API key." : "An API key is needed.");
  }

  /** Fetches the version and the models, once. */
  async #introduce() {
    if (this.#isIntroduced) return;
    const version = await this.#api.version();
    document.querySelector("#version").textContent = ` · version ${version}`;
    this.#controls.offer(await this.#api.models());
    this.#isIntroduced = true;
    this.#introduced();
  }

  #show(state, words) {
    this.#state.dataset.state = state;
    // Screen readers announce it only when it changes.
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }
}
