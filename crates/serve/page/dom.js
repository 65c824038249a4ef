// Creates elements without markup: all text is inserted as text, so nothing that a model writes can become an element.

/** Makes an element with a class and children. A string child becomes text. */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}
