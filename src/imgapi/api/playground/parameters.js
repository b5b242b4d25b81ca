/** The fields that are written or chosen: numbers, words, switches. */

import { make } from "./elements.js";
import { Field } from "./field.js";
import { write } from "./words.js";

// A range this narrow has a slider beside its number.
const NARROW = 10;
const LONG_TEXT = 200;

/** A field with one control, whose default the document has. */
class Parameter extends Field {
  constructor(described, operation) {
    super(described, operation);
    this.input = this.makeControl({ id: this.id, name: this.name, "aria-describedby": this.describedBy });
    this.input.addEventListener("input", () => this.changed());
    this.reset();
    this.element = this.lay();
  }

  get control() {
    return this.input;
  }

  lay() {
    return make(
      "div",
      { class: "field" },
      this.label("label", { for: this.id }),
      this.about,
      this.input,
      this.hint(),
      this.problem,
    );
  }

  /** Says the default, which stands in the control until it is changed. */
  hint() {
    const hint = make("p", { class: "default" });
    if (this.described.default !== undefined && this.described.default !== "") {
      write(hint, "field.default", { value: this.spell(this.described.default) });
    }
    return hint;
  }

  spell(value) {
    return typeof value === "number" ? value : String(value);
  }

  reset() {
    this.fill(this.described.default ?? "");
  }

  fill(value) {
    this.input.value = value;
  }

  get value() {
    const value = this.read();
    return value === this.described.default ? undefined : value;
  }

  read() {
    return this.input.value === "" && this.described.default === undefined ? undefined : this.input.value;
  }
}

class NumberParameter extends Parameter {
  makeControl(attributes) {
    const { minimum, maximum, kind } = this.described;
    const step = kind === "integer" ? 1 : "any";
    const bounds = { min: minimum, max: maximum };
    const number = make("input", {
      type: "number",
      inputmode: kind === "integer" ? "numeric" : "decimal",
      ...attributes,
      ...bounds,
      step,
    });
    if (maximum - minimum <= NARROW) {
      // For fingers; to the keyboard and to a screen reader the number is enough.
      this.slider = make("input", {
        type: "range",
        ...bounds,
        step: kind === "integer" ? 1 : 0.05,
        tabindex: -1,
        "aria-hidden": "true",
        input: () => {
          number.value = this.slider.value;
          this.changed();
        },
      });
      number.addEventListener("input", () => {
        this.slider.value = number.value;
      });
    }
    return number;
  }

  lay() {
    const row = make("div", { class: "number" }, this.input, ...(this.slider ? [this.slider] : []));
    return make(
      "div",
      { class: "field" },
      this.label("label", { for: this.id }),
      this.about,
      row,
      this.hint(),
      this.problem,
    );
  }

  fill(value) {
    super.fill(value);
    if (this.slider) {
      this.slider.value = value;
    }
  }

  read() {
    return this.input.value === "" ? undefined : Number(this.input.value);
  }

  check() {
    const { minimum, maximum, kind } = this.described;
    const value = this.read();
    if (value === undefined) {
      return this.input.validity.badInput || this.described.isRequired ? ["check.number"] : null;
    }
    if (kind === "integer" && !Number.isInteger(value)) {
      return ["check.whole"];
    }
    return value < minimum || value > maximum ? ["check.between", { minimum, maximum }] : null;
  }
}

class BooleanParameter extends Parameter {
  makeControl(attributes) {
    return make("input", { type: "checkbox", ...attributes });
  }

  lay() {
    const line = make("div", { class: "switch" }, this.input, this.label("label", { for: this.id }));
    return make("div", { class: "field" }, line, this.about, this.problem);
  }

  fill(value) {
    this.input.checked = value === true;
  }

  read() {
    return this.input.checked;
  }
}

class TextParameter extends Parameter {
  makeControl(attributes) {
    return make("textarea", { rows: 2, maxlength: this.described.maxLength, ...attributes });
  }

  spell(value) {
    return value.length > LONG_TEXT ? `${value.slice(0, LONG_TEXT)}…` : value;
  }
}

class ChoiceParameter extends Parameter {
  makeControl(attributes) {
    const choices = this.described.choices.map((choice) => make("option", { value: choice }, String(choice)));
    return make("select", attributes, ...choices);
  }
}

/** A kind of field that this page has no control for is written as JSON. */
class JsonParameter extends Parameter {
  makeControl(attributes) {
    return make("textarea", { rows: 3, class: "code", spellcheck: "false", ...attributes });
  }

  spell(value) {
    return JSON.stringify(value);
  }

  fill(value) {
    this.input.value = value === "" ? "" : JSON.stringify(value);
  }

  get value() {
    return this.input.value.trim() === "" ? undefined : this.read();
  }

  read() {
    try {
      return JSON.parse(this.input.value);
    } catch {
      return undefined;
    }
  }

  check() {
    return this.input.value.trim() !== "" && this.read() === undefined ? ["check.json"] : null;
  }
}

const KINDS = {
  number: NumberParameter,
  integer: NumberParameter,
  boolean: BooleanParameter,
  text: TextParameter,
  choice: ChoiceParameter,
  json: JsonParameter,
};

/** Makes the field of a parameter. */
export function makeParameter(described, operation) {
  return new KINDS[described.kind](described, operation);
}
