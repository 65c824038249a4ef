// The figures of an answer: where its time went, and what it took.

import { make } from "./dom.js";
import { bytes, percent, time } from "./words.js";

/** The parts of the time, in the order of the strip. Each is also a class in style.css. */
const TIME_PARTS = [
  ["small-decode", "small model writes", (t) => t.small.decode_us],
  ["small-read", "small model reads", (t) => t.small.queue_us + t.small.prefill_us],
  ["hand-over", "hand-over: large model reads", (t) => t.large.queue_us + t.large.prefill_us],
  ["large-decode", "large model writes", (t) => t.large.decode_us],
  ["network", "network", (t) => t.small.network_us + t.large.network_us],
  ["verdicts", "waiting for a review", (t) => t.verdicts_us ?? 0],
  ["other", "other", (t) => t.other_us],
];

/** Makes a strip whose segments are the parts of the time, with a legend below. `split` is the summary's `time`. */
export function timeStrip(split) {
  const parts = TIME_PARTS.map(([name, words, of]) => ({ name, words, us: of(split) })).filter(({ us }) => us > 0);
  const strip = make("div", "strip");
  strip.setAttribute("aria-hidden", "true");
  const legend = make("ul", "legend");
  for (const { name, words, us } of parts) {
    const segment = make("span", `segment ${name}`);
    segment.style.flexGrow = us;
    strip.append(segment);
    const mark = make("span", `mark ${name}`);
    mark.setAttribute("aria-hidden", "true");
    legend.append(make("li", "", mark, `${words} `, make("b", "", time(us))));
  }
  const caption = make("figcaption", "hidden", "Where the time went");
  return make("figure", "time", caption, make("div", "track", strip), legend);
}

/** Makes the list of figures. `report` is the answer's object in `specthink.answers`. */
export function figureList(report) {
  const { summary, share, cost } = report;
  const { small, large } = summary;
  const split = summary.time;
  const tokens = small.tokens + large.tokens + summary.inserted_tokens;
  const list = make("dl", "figures");
  const add = (name, ...values) => list.append(make("div", "", make("dt", "", name), make("dd", "", ...values)));

  const written = { small: small.tokens, large: large.tokens, policy: summary.inserted_tokens };
  const writers = Object.keys(written).filter((writer) => written[writer] > 0);
  add("Tokens", ...writers.flatMap((writer, at) => [
    at > 0 ? ", " : "",
    make("span", `run ${writer}`, `${written[writer]} ${writer}`),
  ]));
  add("Large model’s share", percent(share));
  add("Takeovers", String(summary.takeovers.length));
  if (summary.corrections > 0) add("Corrections", String(summary.corrections));
  add("First text", split.first_text_us == null ? "none" : time(split.first_text_us));
  if (split.total_us > 0) add("Speed", `${Math.round((tokens * 1e6) / split.total_us).toLocaleString("en")} tokens/s`);
  const traffic = [["small", small.traffic], ["large", large.traffic]].filter(([, of]) => of);
  for (const [writer, of] of traffic) {
    add(`Bytes, ${writer} node`, `${bytes(of.sent_bytes)} to, ${bytes(of.received_bytes)} from`);
  }
  if (cost !== null) add("Cost", cost === 0 ? "0" : cost.toPrecision(3));
  return list;
}
