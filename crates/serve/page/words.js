// How writers, reasons, ends and quantities are put into words.

/** Who wrote, as it is shown. */
export const WRITERS = { small: "Small model", large: "Large model", policy: "Policy" };

/** Why the large model, or the policy, has the word. The small one has it otherwise. */
const REASONS = {
  turn: "its own turn",
  probe: "tried at a paragraph break",
  begin: "begins the answer",
  affirmation: "took over at an affirmation, such as “yes” or “final answer”",
  reflection: "took over at a reflection, such as “wait” or “alternatively”",
  verification: "took over at a verification, such as “check” or “verify”",
  excessive_reflection: "took over because the small model doubted without end",
  schedule: "took over by schedule, blind to the text",
  entropy: "took over where the small model was unsure",
  score: "took over where it gave a low mark",
  loop: "led out of a loop: the text repeated itself",
  review: "would have written something else there",
  recap: "a sentence put in by the policy; no model wrote it",
};

const ENDS = {
  end_of_text: "complete",
  stop: "ended at a stop text",
  max_tokens: "cut off: the greatest number of tokens was reached",
  context_full: "cut off: the small model’s context is full",
  deadline: "cut off: the time was up",
  loop: "cut off: the text went round in a loop",
  cancelled: "cut off: nobody read on",
};

/** A reason that this page does not know is shown by its name. */
export function reason(why) {
  return REASONS[why] ?? String(why).replaceAll("_", " ");
}

/** What a review put something else in the place of; `gap` is in nats. */
export function corrected({ stood, gap }) {
  const what = stood === "" ? "the end of the answer" : `“${visible(stood)}”`;
  return `corrects ${what}, by a gap of ${gap.toFixed(1)} nats`;
}

/** A text with what is not seen in it named. */
function visible(text) {
  return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥");
}

/** Why an answer ended. */
export function end(name) {
  return ENDS[name] ?? String(name).replaceAll("_", " ");
}

/** A time of a clock, in seconds since 1970, as a reader in this place wants it. */
export function when(seconds) {
  const form = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Date(seconds * 1_000).toLocaleString("en-GB", form);
}

/** Microseconds as a reader wants them: 840 µs, 12 ms, 1.24 s. */
export function time(us) {
  if (us < 1_000) return `${Math.round(us)} µs`;
  if (us < 10_000) return `${(us / 1_000).toFixed(1)} ms`;
  if (us < 999_500) return `${Math.round(us / 1_000)} ms`;
  if (us < 100_000_000) return `${(us / 1_000_000).toFixed(2)} s`;
  return `${Math.round(us / 1_000_000)} s`;
}

/** Bytes: 812 B, 4.1 kB, 1.3 MB. */
export function bytes(count) {
  if (count < 1_000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1_000).toFixed(1)} kB`;
  return `${(count / 1_000_000).toFixed(1)} MB`;
}

/** A part of a whole: 0.213 as 21 %. */
export function percent(part) {
  return `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
}

/** A number with its thing, in the singular or the plural. */
export function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}
