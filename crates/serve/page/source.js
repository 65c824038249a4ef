// Which parts of a text are code or TeX. They are shown as their source, in monospace.

const SOURCE = new RegExp(
  [
    /```[^]*?(?:```|$)/, // A fence; one that is not closed goes to the end.
    /`[^`\n]+`/,
    /\\\[[^]*?\\\]/,
    /\\\([^]*?\\\)/,
    /\$\$[^]*?\$\$/,
    /\$[^$\n]*\\[^$\n]*\$/, // A pair of dollars is TeX only with a command in it: "$5 and $6" is money.
    /\\[a-zA-Z]+(?:\{(?:[^{}]|\{[^{}]*\})*\})+/, // \boxed{...}, \frac{a}{b}
  ].map((part) => part.source).join("|"),
  "g",
);

/** The ranges of source in a text: [start, end) in code units, in order. */
export function sourceRanges(text) {
  return Array.from(text.matchAll(SOURCE), (match) => [match.index, match.index + match[0].length]);
}

/** Cuts a part of the text, which begins at `start`, into pieces that are source or not. */
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
