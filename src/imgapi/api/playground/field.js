/** What every field of the form has: a label, the document's words about it, and the problem with it, if any. */

import { make, newId } from "./elements.js";
import { wipe, write } from "./words.js";

/** A field of the form; announces "change" when its value may be another. */
export class Field extends EventTarget {
  /** `described` is the field as the document describes it, `operation` the one that has it. */
  constructor(described, operation) {
    super();
    this.described = described;
    this.operation = operation;
    this.name = described.name;
    this.id = newId(described.name);
    this.about = write(
      make("p", { class: "about", id: `${this.id}-about` }),
      ...this.#words("about", described.description ?? ""),
    );
    this.problem = make("p", { class: "field-problem", id: `${this.id}-problem`, hidden: true });
  }

  /** The element that gets the focus when something is wrong here. */
  get control() {
    throw new Error("a field says what its control is");
  }

  /** What the request says; undefined leaves the field out, and the service takes its default. */
  get value() {
    return undefined;
  }

  /** Finds what is wrong with the value before it is sent: [key, given] of the words for it, or null. */
  check() {
    return null;
  }

  /** The label's words, with the field's own name behind. */
  label(tag, attributes = {}) {
    const text = write(make("span"), ...this.#words("field", this.name.replaceAll("_", " ")));
    const label = make(tag, { class: "label", ...attributes }, text, " ", make("code", {}, this.name));
    if (!this.described.isRequired && this.described.default === undefined) {
      label.append(" ", write(make("small"), "field.optional"));
    }
    return label;
  }

  #words(kind, otherwise) {
    return [[`${kind}.${this.operation.name}.${this.name}`, `${kind}.${this.name}`], {}, otherwise];
  }

  /** Names the words that describe a control. */
  get describedBy() {
    return `${this.about.id} ${this.problem.id}`;
  }

  /** Shows what is wrong; `told` is [key, given], or a sentence of the service. */
  showProblem(told) {
    if (Array.isArray(told)) {
      write(this.problem, ...told);
    } else {
      wipe(this.problem);
      this.problem.textContent = told;
    }
    this.problem.hidden = false;
    this.control.setAttribute("aria-invalid", "true");
  }

  /** Takes it back. */
  clearProblem() {
    this.problem.hidden = true;
    wipe(this.problem);
    this.control.removeAttribute("aria-invalid");
  }

  /** Tells whoever listens that the value may be another. */
  changed() {
    this.clearProblem();
    this.dispatchEvent(new Event("change"));
  }

  focus() {
    this.control.focus();
  }
}
