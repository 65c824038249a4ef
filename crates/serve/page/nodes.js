// The nodes and their state, at the bottom of the page.

import { make } from "./dom.js";

const WORDS = {
  unknown: "no report yet",
  serving: "serving",
  set_aside: "set aside after several failures",
  draining: "shutting down",
  gone: "unreachable",
  unfit: "serves another model",
};

export class NodeList {
  #section = document.querySelector("#nodes");
  #list = document.querySelector("#node-list");

  /** Shows the nodes that the server reports. */
  show(nodes) {
    this.#section.hidden = nodes.length === 0;
    this.#list.replaceChildren(...nodes.map((node) => this.#entry(node)));
  }

  #entry({ part, name, state, why, sessions }) {
    const busy = sessions === 1 ? "1 session" : `${sessions} sessions`;
    const words = why ?? WORDS[state] ?? state;
    const entry = make("li", "", make("span", "dot", ""), `${part}: ${name}, ${words}, ${busy}`);
    entry.dataset.state = state === "serving" ? "ready" : "away";
    entry.firstChild.ariaHidden = "true";
    return entry;
  }
}
