/** Making elements; no ComfyUI in here. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {(Node | string)[]} children Text stays text: nothing is parsed as HTML.
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * What is shown on demand.
 *
 * @param {string} title
 * @param {HTMLElement[]} content
 */
export function createFold(title, ...content) {
  return make("details", "wattbench-fold", make("summary", "", title), ...content);
}

/**
 * A button as all of the pack's, with its style.
 *
 * @param {string} text
 * @param {() => void} onClick
 */
export function createButton(text, onClick) {
  addStyleSheet("button.css");
  const button = make("button", "wattbench-button", text);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {Element[]} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, `${value}`);
  element.append(...children);
  return element;
}

/**
 * Load a style sheet of this folder, unless the page has it.
 *
 * @param {string} file
 */
export function addStyleSheet(file) {
  const { href } = new URL(file, import.meta.url);
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = make("link");
  link.rel = "stylesheet";
  link.href = href;
  document.head.append(link);
}
