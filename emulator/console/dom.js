// DOM helpers. Data from the server is inserted as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/**
 * Creates an element.
 *
 * `tag` is a tag name with an optional class, such as "p.notice". `props` is optional: attributes, event listeners
 * ("onclick") and CSS custom properties ("--c").
 */
export function el(tag, props, ...children) {
  const [tagName, className] = tag.split(".");
  const node = document.createElement(tagName);
  if (className) node.className = className;
  if (props?.constructor !== Object) children.unshift(props ?? "");
  else for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Sets the text of a node, unless it is the same. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
