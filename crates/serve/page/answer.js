// One answer as it is written: its words by writer, what happened meanwhile, and how it ended.
//
// All text of a model or the server is inserted as text nodes.

import { make } from "./dom.js";
import { figureList, timeStrip } from "./figures.js";
import { pieces, sourceRanges } from "./source.js";
import { WRITERS, corrected, count, end, reason, time } from "./words.js";

/** How often the elapsed time is updated, in milliseconds. */
const TICK_MS = 200;

/** The headings for the messages of a conversation. */
const ROLES = { user: "Question", system: "Instructions", assistant: "Answer" };

/** The tooltip's words for the element of a takeover or a correction. */
const takeovers = new WeakMap();

/** Returns the words for the element of a takeover or a correction. */
export function takeoverWords(element) {
  return takeovers.get(element) ?? null;
}

export class AnswerView {
  /** The runs: consecutive text of one writer, for one reason, in one part. A correction begins a new run. */
  #runs = [];
  #parts = {};
  #state = make("p", "state");
  #text = make("div", "parts");
  #after = make("div", "after");
  #began = performance.now();
  #firstText = null;
  #timer;

  /** `isLive` says whether it is being written now. */
  constructor(title, isLive = true) {
    this.title = title;
    const head = make("header", "", make("h2", "", title), this.#state);
    this.element = make("article", "answer", head, this.#text, this.#after);
    this.element.setAttribute("aria-label", title);
    this.element.setAttribute("aria-busy", "true");
    if (!isLive) return;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  /** Adds a chunk of the stream. */
  take(chunk) {
    const delta = chunk.choices[0]?.delta ?? {};
    const ours = chunk.specthink ?? {};
    if (ours.question && !ours.answers) this.#text.before(asked(ours.question));
    if (delta.reasoning_content) this.#write("reasoning", ours, delta.reasoning_content);
    if (delta.content) this.#write("content", ours, delta.content);
    if (ours.degraded) this.#notice(`No large model at the moment: ${ours.degraded}`);
    if (ours.rejoined) this.#notice(`The large model is back: ${ours.rejoined}`);
    if (ours.resumed) {
      const { from, to, reason } = ours.resumed;
      this.#notice(`${from} was lost (${reason}); ${to} continued`);
    }
    if (ours.answers) this.#complete(ours.answers[0]);
  }

  /** Ends the answer with its stream. The last chunk says how it ended; without one, that is unknown. */
  ended() {
    if (!this.report) this.#end("ended", "ended");
  }

  /** Ends an answer that the user stopped. */
  stopped() {
    this.#end("stopped", "stopped");
  }

  /** Ends an answer that failed; `message` says why. */
  failed(message) {
    this.#end("failed", "failed");
    this.#tellError(message);
  }

  /** How long the answer took, in microseconds; undefined before its end. */
  get totalUs() {
    return this.report?.summary.time?.total_us;
  }

  /** Draws the time strip to a scale that all answers share. */
  scaleStrip(longestUs) {
    const strip = this.#after.querySelector(".strip");
    if (strip) strip.style.inlineSize = `${(100 * this.totalUs) / longestUs}%`;
  }

  #write(part, { writer, why, correction }, text) {
    this.#firstText ??= performance.now();
    const last = this.#runs.at(-1);
    const goesOn = last?.isOpen && last.writer === writer && last.why === why && last.part === part;
    if (goesOn && !correction) {
      last.text += text;
      last.element.lastChild.appendData(text);
      return;
    }
    const element = runElement(writer, why, correction, text);
    this.#part(part).append(element);
    this.#runs.push({ writer, why, correction, part, text, element, isOpen: true });
  }

  /** Returns the element of a part of the message, and creates it if needed. The reasoning comes before the content. */
  #part(name) {
    if (!this.#parts[name]) {
      const title = { reasoning: "Reasoning", content: "Answer" }[name];
      const text = make("div", "text");
      this.#text.append(make("section", `part ${name}`, make("h3", "", title), text));
      this.#parts[name] = text;
    }
    return this.#parts[name];
  }

  /** Shows an event where it happened in the text. */
  #notice(words) {
    const last = this.#runs.at(-1);
    if (last) last.isOpen = false;
    this.#part(last?.part ?? "content").append(make("p", "notice", words));
  }

  #tellError(message) {
    const error = make("p", "error", message);
    error.setAttribute("role", "alert");
    this.#text.append(error);
  }

  #complete(report) {
    this.report = report;
    const { failure } = report.summary;
    if (failure) this.failed(failure.message);
    else this.#end("ended", `${end(report.end)} in ${time(this.totalUs ?? 0)}`);
    this.#tellTakeovers(report.spans);
    if (report.degraded) this.#state.append(make("span", "tag", "degraded"));
    this.#after.append(timeStrip(report.summary.time), figureList(report));
  }

  #end(state, words) {
    clearInterval(this.#timer);
    this.#state.textContent = words;
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", "false");
    this.#showSource();
    if (this.#runs.length === 0 && state !== "failed") this.#text.append(make("p", "notice", "No text was written."));
  }

  #tick() {
    const now = performance.now();
    const passed = time((now - this.#began) * 1_000);
    this.#state.textContent = this.#firstText === null ? `waiting, ${passed}` : `writing, ${passed}`;
  }

  /** Shows code and TeX in monospace. This is done at the end, when it is known where each of them ends. */
  #showSource() {
    for (const part of ["reasoning", "content"]) {
      const runs = this.#runs.filter((run) => run.part === part);
      const ranges = sourceRanges(runs.map((run) => run.text).join(""));
      let start = 0;
      for (const run of ranges.length > 0 ? runs : []) {
        const shown = pieces(run.text, start, ranges);
        run.element.replaceChildren(...shown.map(({ text, isSource }) => (isSource ? make("code", "", text) : text)));
        start += run.text.length;
      }
    }
  }

  /** Adds to each takeover what it took. Spans are the runs, with thought marks and surrounding white space. */
  #tellTakeovers(spans) {
    let at = -1;
    for (const { writer, why, correction, text, element } of this.#runs) {
      const from = correction ? at + 1 : at;
      const isIt = (span) => span.writer === writer && span.why === why && span.text.includes(text);
      const found = spans.findIndex((span, index) => index >= from && isIt(span));
      if (found < 0) continue;
      at = found;
      const { tokens, elapsed_us: elapsed } = spans[found];
      const words = takeovers.get(element);
      // A token that was part of a verdict took no extra time.
      const took = elapsed > 0 ? ` in ${time(elapsed)}` : "";
      if (words) takeovers.set(element, `${words} · ${count(tokens, "token")}${took}`);
    }
  }
}

/** Makes the list of what was asked: every message of a conversation, or the text to continue. */
function asked({ messages, raw_prompt: raw, beginning }) {
  const said = messages ? messages.map(({ role, content }) => [ROLES[role] ?? role, content]) : [["Text", raw]];
  const given = [beginning?.reasoning, beginning?.content].filter(Boolean);
  if (given.length > 0) said.push(["Beginning of the answer", given.join("\n\n")]);
  const list = make("dl", "asked");
  for (const [name, text] of said) list.append(make("dt", "", name), make("dd", "text", text));
  return list;
}

/** Makes the element of a run. A takeover or a correction can be focused, and is announced as such. */
function runElement(writer, why, correction, text) {
  const element = make("span", `run ${writer in WRITERS ? writer : "policy"}`, text);
  if (writer === "small" || why === "turn") return element;
  const words = `${WRITERS[writer] ?? writer}: ${correction ? corrected(correction) : reason(why)}`;
  element.classList.add("takeover");
  if (correction) element.classList.add("correction");
  element.tabIndex = 0;
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", words);
  takeovers.set(element, words);
  return element;
}
