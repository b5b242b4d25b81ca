/** Makes elements of the page; no markup is ever made of text. */

const SVG = "http://www.w3.org/2000/svg";
const ICONS = new URL("icons.svg", import.meta.url).href;

/**
 * Makes an element.
 * Attributes that are functions listen to the event of that name; true is an attribute without a value.
 */
export function make(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** Makes an element of an SVG drawing. */
export function draw(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name, value);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children);
  return element;
}

/** Makes one of the icons; it says nothing to a screen reader. */
export function icon(name) {
  const drawing = draw("svg", { class: "icon", "aria-hidden": "true" });
  drawing.append(draw("use", { href: `${ICONS}#${name}` }));
  return drawing;
}

/** Gives the element of an id, which is in the page. */
export function byId(id) {
  return document.getElementById(id);
}

let lastNumber = 0;

/** Makes an id that no other element has. */
export function newId(stem) {
  lastNumber += 1;
  return `${stem}-${lastNumber}`;
}
