// The list of earlier answers, which the server keeps in its journals. One click shows an answer again.

import { make } from "./dom.js";
import { end, percent, time, when } from "./words.js";

/** How many answers are listed at first, and how many more are added at a time. */
const FIRST = 6;
const MORE = 20;

export class EarlierAnswers {
  #api;
  #show;
  #section = document.querySelector("#earlier");
  #list = document.querySelector("#earlier-list");
  #more = document.querySelector("#earlier-more");
  /** The ids of the listed answers, the last to end first. */
  #ids = [];

  /** @param {(answer: object) => void} show called with the entry of the answer that the user selects */
  constructor(api, show) {
    this.#api = api;
    this.#show = show;
    this.#more.addEventListener("click", () => this.#goOn());
  }

  /** Adds new answers. The list of a server that keeps none stays hidden. */
  async refresh() {
    let page;
    try {
      page = await this.#api.answers(FIRST);
    } catch {
      // The top of the page says if the server is unreachable.
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

  /** Marks the answer that is shown, or none if there is no id. */
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
      // The last one was removed from the folder, and so were all older ones.
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

/** Says when a question was asked, who wrote the answer, and what went wrong. */
function about({ created, policy, share, end: why, degraded, total_us: total }) {
  const parts = [when(created), policy];
  if (why === "failed") return [...parts, "failed"].join(" · ");
  if (share > 0 && share < 1) parts.push(`${percent(share)} large`);
  parts.push(time(total));
  if (why !== "end_of_text" && why !== "stop") parts.push(end(why).split(":")[0]);
  if (degraded) parts.push("degraded");
  return parts.join(" · ");
}
