// The words for writers, reasons, ends and quantities.

/** The writers, as they are shown. */
export const WRITERS = { small: "Small model", large: "Large model", policy: "Policy" };

/** Why the large model or the policy wrote a run. Everything else is the small model's. */
const REASONS = {
  turn: "its own turn",
  probe: "tried at a paragraph break",
  begin: "begins the answer",
  affirmation: "took over at an affirmation, such as “yes” or “final answer”",
  reflection: "took over at a reflection, such as “wait” or “alternatively”",
  verification: "took over at a verification, such as “check” or “verify”",
  excessive_reflection: "took over because the small model kept doubting",
  schedule: "took over by schedule, regardless of the text",
  entropy: "took over where the small model was unsure",
  score: "took over a paragraph to which it gave a low mark",
  loop: "led out of a loop: the text repeated itself",
  review: "would have written something else there",
  recap: "a sentence inserted by the policy; no model wrote it",
};

const ENDS = {
  end_of_text: "complete",
  stop: "ended at a stop text",
  max_tokens: "cut off: the maximum number of tokens was reached",
  context_full: "cut off: the small model’s context is full",
  deadline: "cut off: the deadline passed",
  loop: "cut off: the text repeated itself in a loop",
  cancelled: "cut off: the client went away",
};

/** Returns the words for a reason. One that this page does not know is shown by its name. */
export function reason(why) {
  return REASONS[why] ?? String(why).replaceAll("_", " ");
}

/** Returns the words for a correction: the text that it replaced, and the `gap` in nats. */
export function corrected({ stood, gap }) {
  const what = stood === "" ? "the end of the answer" : `“${visible(stood)}”`;
  return `corrects ${what}, by a gap of ${gap.toFixed(1)} nats`;
}

/** Returns a text with symbols for its invisible characters. */
function visible(text) {
  return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥");
}

/** Returns the words for why an answer ended. */
export function end(name) {
  return ENDS[name] ?? String(name).replaceAll("_", " ");
}

/** Formats a time of day, given in seconds since 1970, in the reader's time zone. */
export function when(seconds) {
  const form = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Date(seconds * 1_000).toLocaleString("en-GB", form);
}

/** Formats microseconds: 840 µs, 12 ms, 1.24 s. */
export function time(us) {
  if (us < 1_000) return `${Math.round(us)} µs`;
  if (us < 10_000) return `${(us / 1_000).toFixed(1)} ms`;
  if (us < 999_500) return `${Math.round(us / 1_000)} ms`;
  if (us < 100_000_000) return `${(us / 1_000_000).toFixed(2)} s`;
  return `${Math.round(us / 1_000_000)} s`;
}

/** Formats bytes: 812 B, 4.1 kB, 1.3 MB. */
export function bytes(count) {
  if (count < 1_000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1_000).toFixed(1)} kB`;
  return `${(count / 1_000_000).toFixed(1)} MB`;
}

/** Formats a part of a whole: 0.213 as 21 %. */
export function percent(part) {
  return `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
}

/** Formats a number with its noun, in the singular or the plural. */
export function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}
