// The user's settings: the question, the policy, the targets, and whether to compare.

import { make } from "./dom.js";

/** Worded as in models/arithmetic/test.jsonl, which the built-in pair was trained for. */
const EXAMPLES = [
  "Start with 303. Add 141. Double it. Take away 494. What is the result?",
  "Ada has 141 shells. She gets 31 more. Then there are twice as many. She finds 81 more. " +
    "How many shells does Ada have now?",
  "Take 98. Times 4. Halve it. Take away 132. Add 79. Double it. What do you get?",
  "Begin with 414. Divide by 2. Subtract 70. Add 660 to it. Take away 59. What do you get?",
];

const POLICIES = {
  strict: "The large model takes over where a paragraph begins with doubt, a check or agreement.",
  paper: "The published loop, to the letter.",
  review: "The large model reads along, and corrects single words where it would have written others.",
  "strict+review": "Both: the large model takes over, and corrects what the small one writes in between.",
  random: "The writer is chosen at random, regardless of the text.",
  periodic: "The writers take turns, regardless of the text.",
  "random-token": "The large model writes single words at random places.",
  entropy: "The large model writes the paragraphs whose first word the small one is unsure of.",
  score: "The large model gives every paragraph a mark, and rewrites those with a low one.",
  "small-only": "The small model alone.",
  "large-only": "The large model alone.",
};

/** Policies without takeovers, for which targets mean nothing. */
const ALONE = ["small-only", "large-only"];

export class Controls {
  #question = document.querySelector("#question");
  #policy = document.querySelector("#policy");
  #hint = document.querySelector("#policy-hint");
  #targets = document.querySelector("#targets");
  #compare = document.querySelector("#compare");
  #own = null;

  /** @param {() => void} ask called when the user asks */
  constructor(ask) {
    const form = document.querySelector("#ask");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#question.value.trim()) ask();
    });
    this.#question.addEventListener("keydown", (event) => {
      // While an input method composes a character, Enter belongs to it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.#policy.addEventListener("change", () => this.#policyChanged());
    const list = document.querySelector("#examples");
    for (const example of EXAMPLES) {
      const button = make("button", "example", example);
      button.type = "button";
      button.addEventListener("click", () => {
        this.#question.value = example;
        form.requestSubmit();
      });
      list.append(make("li", "", button));
    }
  }

  /** Offers the policies of the server's models for selection. */
  offer(models) {
    this.#own = models.find(({ name }) => name === "specthink")?.policy;
    const chosen = this.#policy.value;
    const names = [...new Set(models.filter(({ name }) => name !== "specthink").map(({ policy }) => policy))];
    const own = new Option(this.#own ? `server default: ${this.#own}` : "server default", "");
    this.#policy.replaceChildren(own, ...names.filter(Boolean).map((name) => new Option(name, name)));
    this.#policy.value = names.includes(chosen) ? chosen : "";
    this.#policyChanged();
  }

  get isCompared() {
    return this.#compare.checked;
  }

  /** Returns the body of a request to a model. The settings apply only to the model that is both. */
  request(model) {
    const request = { model, messages: [{ role: "user", content: this.#question.value.trim() }] };
    const ours = {};
    if (this.#policy.value) ours.policy = this.#policy.value;
    const targets = this.#targetList();
    if (targets.length > 0) ours.targets = targets;
    return model === "specthink" && Object.keys(ours).length > 0 ? { ...request, specthink: ours } : request;
  }

  #targetList() {
    if (this.#targets.disabled) return [];
    const [share, latency] = ["share", "latency"].map((id) => document.getElementById(id).value);
    const targets = [];
    if (share) targets.push(`share<=${share}%`);
    if (latency) targets.push(`latency<=${latency}s`);
    return targets;
  }

  #policyChanged() {
    const name = this.#policy.value || this.#own;
    this.#hint.textContent = POLICIES[name] ?? "";
    this.#targets.disabled = ALONE.includes(name);
  }
}
