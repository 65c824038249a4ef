// Elements without markup: all text goes in as text, so nothing that a model writes can become an element.

/** An element with a class and children; a string child is text. */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}
