/** Rectangles on a picture: drawn with a pointer, or written as numbers. */

import { draw, make, newId } from "./elements.js";
import { Field } from "./field.js";
import { write, writeAttribute } from "./words.js";

const SIDES = ["x", "y", "width", "height"];
// A press that moves less than this, in pixels of the screen, was meant as a click.
const SMALLEST_MOVE = 4;

/** The field of rectangles, in pixels of the picture of another field. */
export class BoxesField extends Field {
  #boxes = [];
  #start = null;

  /** `picture` is the field whose picture they are drawn on. */
  constructor(described, operation, picture) {
    super(described, operation);
    this.picture = picture;
    this.#makeControls();
    picture.addEventListener("change", () => this.#follow());
    picture.addEventListener("seen", () => this.#follow());
    this.#follow();
  }

  #makeControls() {
    this.image = make("img", { alt: "", draggable: "false", referrerpolicy: "no-referrer" });
    this.overlay = draw("svg", { class: "overlay", "aria-hidden": "true" });
    for (const [kind, act] of [
      ["pointerdown", this.#press],
      ["pointermove", this.#move],
      ["pointerup", this.#release],
      ["pointercancel", this.#cancel],
    ]) {
      this.overlay.addEventListener(kind, act.bind(this));
    }
    this.board = make("div", { class: "board", hidden: true }, this.image, this.overlay);
    this.list = make("ol", { class: "boxes" });
    this.addition = write(
      make("button", {
        type: "button",
        class: "quiet",
        id: this.id,
        "aria-describedby": this.describedBy,
        click: () => this.#addByHand(),
      }),
      "boxes.add",
    );
    this.news = make("p", { class: "visually-hidden", role: "status" });
    this.element = make(
      "fieldset",
      { class: "field" },
      this.label("legend"),
      this.about,
      this.board,
      this.list,
      this.addition,
      this.news,
      this.problem,
    );
  }

  get control() {
    return this.addition;
  }

  get value() {
    return this.#boxes.length ? this.#boxes.map((box) => ({ ...box })) : undefined;
  }

  check() {
    const isWhole = (box) =>
      SIDES.every((side) => Number.isInteger(box[side]) && box[side] >= (side === "x" || side === "y" ? 0 : 1));
    const index = this.#boxes.findIndex((box) => !isWhole(box));
    return index < 0 ? null : ["check.box", { number: index + 1 }];
  }

  reset() {
    this.fill([]);
  }

  fill(boxes) {
    this.#boxes = (boxes ?? []).map((box) =>
      Array.isArray(box) ? Object.fromEntries(SIDES.map((side, at) => [side, box[at]])) : { ...box },
    );
    this.#render();
    this.changed();
  }

  /** Shows the picture that the boxes are on, when the browser can. */
  #follow() {
    const { size, source, service } = this.picture;
    this.board.hidden = !size;
    if (size) {
      this.image.src = source.preview(service);
      this.overlay.setAttribute("viewBox", `0 0 ${size.join(" ")}`);
      this.overlay.setAttribute("preserveAspectRatio", "none");
    }
    this.#paint();
  }

  #point(event) {
    const { left, top, width, height } = this.overlay.getBoundingClientRect();
    const [naturalWidth, naturalHeight] = this.picture.size;
    const inside = (share) => Math.min(Math.max(share, 0), 1);
    return {
      x: Math.round(inside((event.clientX - left) / width) * naturalWidth),
      y: Math.round(inside((event.clientY - top) / height) * naturalHeight),
    };
  }

  #press(event) {
    if (event.button !== 0 || this.#isFull()) {
      return;
    }
    event.preventDefault();
    this.overlay.setPointerCapture(event.pointerId);
    this.#start = { ...this.#point(event), clientX: event.clientX, clientY: event.clientY };
  }

  #move(event) {
    if (this.#start) {
      this.#paint(span(this.#start, this.#point(event)));
    }
  }

  #release(event) {
    if (!this.#start) {
      return;
    }
    const moved = Math.min(
      Math.abs(event.clientX - this.#start.clientX),
      Math.abs(event.clientY - this.#start.clientY),
    );
    const box = span(this.#start, this.#point(event));
    this.#start = null;
    if (moved >= SMALLEST_MOVE && box.width > 0 && box.height > 0) {
      this.#add(box);
    } else {
      this.#paint();
    }
  }

  #cancel() {
    this.#start = null;
    this.#paint();
  }

  #isFull() {
    return this.#boxes.length >= (this.described.maxItems ?? Infinity);
  }

  #add(box) {
    this.#boxes.push(box);
    this.#render();
    write(this.news, "boxes.added", { number: this.#boxes.length, ...box });
    this.changed();
  }

  /** Adds a box in the middle of the picture, to be moved by its numbers. */
  #addByHand() {
    const [width, height] = this.picture.size ?? [100, 100];
    const third = (side) => Math.max(1, Math.round(side / 3));
    this.#add({ x: third(width), y: third(height), width: third(width), height: third(height) });
    this.list.lastElementChild.querySelector("input").focus();
  }

  #remove(index) {
    this.#boxes.splice(index, 1);
    this.#render();
    write(this.news, "boxes.removed", { number: index + 1 });
    const next = this.list.children[Math.min(index, this.#boxes.length - 1)];
    (next?.querySelector("button") ?? this.addition).focus();
    this.changed();
  }

  #render() {
    this.list.replaceChildren(...this.#boxes.map((box, index) => this.#row(box, index)));
    this.addition.disabled = this.#isFull();
    this.#paint();
  }

  #row(box, index) {
    const name = write(make("span", { class: "box-name", id: newId("box") }), "boxes.name", { number: index + 1 });
    const row = make("li", { role: "group", "aria-labelledby": name.id }, name);
    for (const side of SIDES) {
      const input = make("input", {
        type: "number",
        inputmode: "numeric",
        min: side === "x" || side === "y" ? 0 : 1,
        step: 1,
        value: box[side],
        input: () => {
          box[side] = input.value === "" ? null : Number(input.value);
          this.#paint();
          this.changed();
        },
      });
      row.append(make("label", {}, write(make("span"), `boxes.${side}`), input));
    }
    const removal = write(
      make("button", { type: "button", class: "quiet", click: () => this.#remove(index) }),
      "boxes.remove",
    );
    writeAttribute(removal, "aria-label", "boxes.remove-label", { number: index + 1 });
    row.append(removal);
    return row;
  }

  /** Paints the boxes, and the one that is being drawn. */
  #paint(drawn = null) {
    const rectangles = this.#boxes.map((box) =>
      draw("rect", {
        x: box.x ?? 0,
        y: box.y ?? 0,
        width: Math.max(box.width ?? 0, 0),
        height: Math.max(box.height ?? 0, 0),
      }),
    );
    if (drawn) {
      rectangles.push(draw("rect", { class: "drawn", ...drawn }));
    }
    this.overlay.replaceChildren(...rectangles);
  }
}

function span(one, other) {
  return {
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    width: Math.abs(one.x - other.x),
    height: Math.abs(one.y - other.y),
  };
}
