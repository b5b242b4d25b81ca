/** The form of one operation, made of what the document says of it. */

import { BoxesField } from "./boxes.js";
import { make } from "./elements.js";
import { makeParameter } from "./parameters.js";
import { PictureField } from "./pictures.js";

/** The form of one operation; announces "change" when a value may be another. */
export class OperationForm extends EventTarget {
  constructor(operation, service) {
    super();
    this.operation = operation;
    this.service = service;
    this.fields = [];
    for (const described of operation.fields) {
      const field = this.#makeField(described);
      field.addEventListener("change", () => this.dispatchEvent(new Event("change")));
      this.fields.push(field);
    }
    this.element = make("div", { class: "fields" }, ...this.fields.map((field) => field.element));
  }

  #makeField(described) {
    if (described.kind === "picture" || described.kind === "file") {
      return new PictureField(described, this.operation, this.service);
    }
    if (described.kind === "boxes" && this.main) {
      return new BoxesField(described, this.operation, this.main);
    }
    return makeParameter(described.kind === "boxes" ? { ...described, kind: "json" } : described, this.operation);
  }

  /** The field of the picture that the result is compared with. */
  get main() {
    return this.find(this.operation.main);
  }

  get pictures() {
    return this.fields.filter((field) => field instanceof PictureField);
  }

  /** Finds a field by its name, or by the way to a part of it, such as `boxes[0].width`. */
  find(name) {
    return this.fields.find((field) => field.name === name?.split(/[.[]/)[0]);
  }

  /** What the request will say, as [name, value] each; pictures are sources still. */
  values() {
    return this.fields.map((field) => [field.name, field.value]).filter(([, value]) => value !== undefined);
  }

  /** Shows what is wrong in each field and gives those fields. */
  check() {
    return this.fields.filter((field) => {
      field.clearProblem();
      const problem = field.check();
      if (problem) {
        field.showProblem(problem);
      }
      return problem;
    });
  }

  /** Fills in the document's sample; what it doesn't name gets its default. */
  fillSample() {
    for (const field of this.fields) {
      const value = this.operation.sample[field.name];
      if (value !== undefined) {
        field.fill(value);
      } else {
        field.reset?.();
      }
    }
  }

  /** Puts files into the picture fields: from `first` on, empty ones before full ones; gives how many had no place. */
  take(files, first = null) {
    const start = Math.max(this.pictures.indexOf(first), 0);
    const inTurn = [...this.pictures.slice(start), ...this.pictures.slice(0, start)];
    const empty = inTurn.filter((field) => !field.source && field !== first);
    const order = first ? [first, ...empty] : empty.length ? empty : inTurn;
    files.slice(0, order.length).forEach((file, index) => order[index].take(file));
    return Math.max(files.length - order.length, 0);
  }
}
