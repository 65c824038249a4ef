// The page: connects its parts, asks questions, and shows the answers.

import { AnswerView, takeoverWords } from "./answer.js";
import { Api } from "./api.js";
import { Controls } from "./controls.js";
import { EarlierAnswers } from "./earlier.js";
import { ServerState } from "./server.js";
import { attachTip } from "./tip.js";
import { count, percent, when } from "./words.js";

/** The models that are asked, and the titles of their answers. */
const BOTH = [["specthink", "Both models"]];
const COMPARED = [["small", "Small model alone"], ["specthink", "Both models"], ["large", "Large model alone"]];

const api = new Api();
const controls = new Controls(ask);
const earlier = new EarlierAnswers(api, recall);
const server = new ServerState(api, controls, () => earlier.refresh());
const answers = document.querySelector("#answers");
const news = document.querySelector("#news");
const go = document.querySelector("#go");
const stop = document.querySelector("#stop");
let underWay = null;

attachTip(document.querySelector("#tip"), answers, takeoverWords);
stop.addEventListener("click", () => underWay?.abort());
server.ask();

/** Asks the question in the form. */
async function ask() {
  stop.hidden = false;
  news.textContent = "Asking.";
  earlier.mark(null);
  const asks = controls.isCompared ? COMPARED : BOTH;
  const views = asks.map(([, title]) => new AnswerView(title));
  const requests = asks.map(([model]) => controls.request(model));
  const presented = present(views, (at, signal) => api.ask(requests[at], signal));
  bringIntoView(answers);
  if (await presented) earlier.refresh();
}

/** Shows an earlier answer. */
async function recall({ id, created, policy }) {
  stop.hidden = true;
  earlier.mark(id);
  const view = new AnswerView(`${policy}, ${when(created)}`, false);
  // Scroll only at the end, since the layout moves until everything is there.
  if (await present([view], (_, signal) => api.recall(id, signal))) bringIntoView(answers);
}

/**
 * Shows answers from their first chunks to their ends, in place of what was shown before. Returns whether they are
 * still shown at the end.
 */
async function present(views, chunksOf) {
  underWay?.abort();
  const asked = new AbortController();
  underWay = asked;
  document.body.classList.toggle("compared", views.length > 1);
  answers.replaceChildren(...views.map((view) => view.element));
  await Promise.all(views.map((view, at) => follow(view, chunksOf(at, asked.signal), asked.signal)));

  if (underWay !== asked) return false;
  underWay = null;
  if (document.activeElement === stop) go.focus();
  stop.hidden = true;
  const longest = Math.max(...views.map((view) => view.totalUs ?? 0));
  views.forEach((view) => view.scaleStrip(longest));
  news.textContent = views.map(summary).join(" ");
  return true;
}

/** Shows one answer from its first chunk to its end. Never fails: errors are shown. */
async function follow(view, chunks, signal) {
  try {
    for await (const chunk of chunks) view.take(chunk);
    view.ended();
  } catch (error) {
    if (signal.aborted) return view.stopped();
    if (error.status !== 401) return view.failed(error.message);
    server.wantKey();
    view.failed("This server requires an API key. Enter it below the question, then ask again.");
  }
}

/** Scrolls to the beginning of the answer if that is not visible, mostly on phones. */
function bringIntoView(element) {
  const { top } = element.getBoundingClientRect();
  if (top >= 0 && top < innerHeight * 0.7) return;
  // The on-screen keyboard would cover the answer.
  if (matchMedia("(hover: none)").matches) document.activeElement.blur();
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: isCalm ? "instant" : "smooth" });
}

/** Returns what a screen reader says about an answer that has ended. Errors are separate alerts. */
function summary({ title, report, element }) {
  if (!report || report.summary.failure) return `${title}: ${element.dataset.state}.`;
  const corrections = report.summary.corrections > 0 ? `, with ${count(report.summary.corrections, "correction")}` : "";
  return `${title}: answered, ${percent(report.share)} by the large model${corrections}.`;
}
