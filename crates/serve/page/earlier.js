// Earlier answers: a list of what the server keeps in its journals. One click shows an answer again.

import { make } from "./dom.js";
import { end, percent, time, when } from "./words.js";

/** How many are listed at first, and how many more at a time. */
const FIRST = 6;
const MORE = 20;

export class EarlierAnswers {
  #api;
  #show;
  #section = document.querySelector("#earlier");
  #list = document.querySelector("#earlier-list");
  #more = document.querySelector("#earlier-more");
  /** The ids of those that are listed, the last to end first. */
  #ids = [];

  /** @param {(answer: object) => void} show called with the entry of an answer that the reader wants */
  constructor(api, show) {
    this.#api = api;
    this.#show = show;
    this.#more.addEventListener("click", () => this.#goOn());
  }

  /** Looks for new ones. A server that keeps none has no list. */
  async refresh() {
    let page;
    try {
      page = await this.#api.answers(FIRST);
    } catch {
      // A server that is away is told at the top of the page.
      return;
    }
    const known = page.data.findIndex(({ id }) => id === this.#ids[0]);
    if (known < 0) {
      this.#list.replaceChildren();
      this.#ids = [];
      this.#more.hidden = !page.has_more;
    }
    const fresh = known < 0 ? page.data : page.data.slice(0, known);
    this.#list.prepend(...fresh.map((answer) => this.#entry(answer)));
    this.#ids.unshift(...fresh.map(({ id }) => id));
    this.#section.hidden = this.#ids.length === 0;
  }

  /** Marks the answer that is shown; none without an id. */
  mark(id) {
    for (const button of this.#list.querySelectorAll("button")) {
      if (button.dataset.id === id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  async #goOn() {
    let page;
    try {
      page = await this.#api.answers(MORE, this.#ids.at(-1));
    } catch (error) {
      // What was behind the last one is taken away with it.
      if (error.status === 404) this.#more.hidden = true;
      return;
    }
    const entries = page.data.map((answer) => this.#entry(answer));
    this.#list.append(...entries);
    this.#ids.push(...page.data.map(({ id }) => id));
    this.#more.hidden = !page.has_more;
    entries[0]?.querySelector("button").focus();
  }

  #entry(answer) {
    const question = make("span", "question", answer.question || "(no text)");
    const button = make("button", "recall", question, make("span", "about", about(answer)));
    button.type = "button";
    button.dataset.id = answer.id;
    button.addEventListener("click", () => this.#show(answer));
    return make("li", "", button);
  }
}

/** When an answer was asked for, who wrote it, and what went wrong. */
function about({ created, policy, share, end: why, degraded, total_us: total }) {
  const parts = [when(created), policy];
  if (why === "failed") return [...parts, "failed"].join(" · ");
  if (share > 0 && share < 1) parts.push(`${percent(share)} large`);
  parts.push(time(total));
  if (why !== "end_of_text" && why !== "stop") parts.push(end(why).split(":")[0]);
  if (degraded) parts.push("degraded");
  return parts.join(" · ");
}
