// The page's only tooltip: it shows who wrote a takeover or a correction and why, while the pointer is on it or it has
// the focus.
//
// As WCAG 1.4.13 requires, it stays while the pointer is on the tooltip itself, and Escape closes it.

const GAP_PX = 6;
const MARGIN_PX = 8;

/**
 * Attaches the tooltip to the elements inside `root` for which `wordsOf` has words.
 *
 * @param {HTMLElement} tip
 * @param {HTMLElement} root
 * @param {(element: Element) => string | null} wordsOf returns the words for an element, if there are any
 */
export function attachTip(tip, root, wordsOf) {
  let shown = null;

  const show = (element, x) => {
    const words = wordsOf(element);
    if (!words) return hide();
    shown = element;
    tip.textContent = words;
    tip.hidden = false;
    place(tip, element, x);
  };
  const hide = () => {
    shown = null;
    tip.hidden = true;
  };
  const takeover = (event) => event.target.closest?.(".takeover");

  root.addEventListener("pointerover", (event) => {
    const element = takeover(event);
    if (element) show(element, event.clientX);
  });
  root.addEventListener("pointerout", (event) => {
    const isLeft = takeover(event) === shown && !shown?.contains(event.relatedTarget);
    if (isLeft && event.relatedTarget !== tip && document.activeElement !== shown) hide();
  });
  tip.addEventListener("pointerleave", () => document.activeElement !== shown && hide());
  root.addEventListener("focusin", (event) => {
    const element = takeover(event);
    if (element) show(element);
  });
  root.addEventListener("focusout", hide);
  addEventListener("scroll", () => shown && place(tip, shown), { passive: true });
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
}

/** Places the tooltip above the first line of an element, near the pointer, or below its last line for lack of room. */
function place(tip, element, x) {
  const lines = [...element.getClientRects()].filter((line) => line.width > 0);
  const line = lines[0] ?? element.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const wanted = x === undefined ? line.left : Math.max(line.left, x - width / 2);
  const left = Math.max(MARGIN_PX, Math.min(wanted, innerWidth - width - MARGIN_PX));
  const isBelow = line.top < height + GAP_PX + MARGIN_PX;
  const last = lines.at(-1) ?? line;
  const top = isBelow ? last.bottom + GAP_PX : line.top - height - GAP_PX;
  tip.style.left = `${left}px`;
  tip.style.top = `${top}px`;
}
