// The page: puts its parts together, asks, and shows the answers.

import { AnswerView, takeoverWords } from "./answer.js";
import { Api } from "./api.js";
import { Controls } from "./controls.js";
import { ServerState } from "./server.js";
import { attachTip } from "./tip.js";
import { count, percent } from "./words.js";

/** What is asked, by model names, and how the answers are headed. */
const BOTH = [["specthink", "Both models"]];
const COMPARED = [["small", "Small model alone"], ["specthink", "Both models"], ["large", "Large model alone"]];

const api = new Api();
const controls = new Controls(ask);
const server = new ServerState(api, controls);
const answers = document.querySelector("#answers");
const news = document.querySelector("#news");
const go = document.querySelector("#go");
const stop = document.querySelector("#stop");
let underWay = null;

attachTip(document.querySelector("#tip"), answers, takeoverWords);
stop.addEventListener("click", () => underWay?.abort());
server.ask();

/** Asks the question that is set, in place of what was asked before. */
async function ask() {
  underWay?.abort();
  const asked = new AbortController();
  underWay = asked;
  stop.hidden = false;
  news.textContent = "Asking.";

  const asks = controls.isCompared ? COMPARED : BOTH;
  const views = asks.map(([, title]) => new AnswerView(title));
  document.body.classList.toggle("compared", controls.isCompared);
  answers.replaceChildren(...views.map((view) => view.element));
  bringIntoView(answers);
  await Promise.all(asks.map(([model], at) => follow(views[at], controls.request(model), asked.signal)));

  if (underWay !== asked) return; // Another question took its place.
  underWay = null;
  if (document.activeElement === stop) go.focus();
  stop.hidden = true;
  const longest = Math.max(...views.map((view) => view.totalUs ?? 0));
  views.forEach((view) => view.scaleStrip(longest));
  news.textContent = views.map(summary).join(" ");
}

/** Shows one answer from its first chunk to its end. Never fails: what goes wrong is shown. */
async function follow(view, request, signal) {
  try {
    for await (const chunk of api.ask(request, signal)) view.take(chunk);
    view.ended();
  } catch (error) {
    if (signal.aborted) return view.stopped();
    if (error.status !== 401) return view.failed(error.message);
    server.wantKey();
    view.failed("This server wants an API key. Give it below the question, then ask again.");
  }
}

/** Scrolls to where the answer begins, where that is below the fold: on a phone, mostly. */
function bringIntoView(element) {
  if (element.getBoundingClientRect().top < innerHeight * 0.7) return;
  // The keyboard on the screen would cover what it scrolls to.
  if (matchMedia("(hover: none)").matches) document.activeElement.blur();
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: isCalm ? "instant" : "smooth" });
}

/** What a screen reader says of an answer when it is over. Errors are alerts of their own. */
function summary({ title, report, element }) {
  if (!report) return `${title}: ${element.dataset.state}.`;
  const corrections = report.summary.corrections > 0 ? `, with ${count(report.summary.corrections, "correction")}` : "";
  return `${title}: answered, ${percent(report.share)} by the large model${corrections}.`;
}
