// Finds the parts of a text that are code or TeX. They are shown as source, in monospace.

const SOURCE = new RegExp(
  [
    /```[^]*?(?:```|$)/, // A fence; an unclosed one extends to the end.
    /`[^`\n]+`/,
    /\\\[[^]*?\\\]/,
    /\\\([^]*?\\\)/,
    /\$\$[^]*?\$\$/,
    /\$[^$\n]*\\[^$\n]*\$/, // Text between dollars is TeX only if it has a command: "$5 and $6" is money.
    /\\[a-zA-Z]+(?:\{(?:[^{}]|\{[^{}]*\})*\})+/, // \boxed{...}, \frac{a}{b}
  ].map((part) => part.source).join("|"),
  "g",
);

/** Returns the ranges of source in a text: [start, end) in code units, in order. */
export function sourceRanges(text) {
  return Array.from(text.matchAll(SOURCE), (match) => [match.index, match.index + match[0].length]);
}

/** Cuts a part of the text, which begins at `start`, into pieces, each of them source or not. */
export function pieces(part, start, ranges) {
  const found = [];
  let at = start;
  const upTo = (end, isSource) => {
    const stop = Math.min(end, start + part.length);
    if (stop > at) {
      found.push({ text: part.slice(at - start, stop - start), isSource });
      at = stop;
    }
  };
  for (const [from, to] of ranges) {
    upTo(from, false);
    upTo(to, true);
  }
  upTo(start + part.length, false);
  return found;
}
