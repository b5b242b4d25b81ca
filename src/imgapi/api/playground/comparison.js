/** Before and after, one over the other, with a slider between them. */

import { make, newId } from "./elements.js";
import { write, writeAttribute } from "./words.js";

const MIDDLE = 50;
// Beyond this the two pictures are not of one shape, and the first stands inside the frame of the second.
const SAME_SHAPE = 0.02;

/** Two pictures in one frame. */
export class Comparison {
  constructor() {
    this.after = make("img", { class: "after", referrerpolicy: "no-referrer", load: () => this.#fit() });
    this.before = make("img", {
      class: "before",
      referrerpolicy: "no-referrer",
      load: () => this.#fit(),
      error: () => this.#lose(),
    });
    const id = newId("split");
    this.slider = make("input", {
      type: "range",
      id,
      min: 0,
      max: 100,
      step: 1,
      value: MIDDLE,
      input: () => this.#split(),
    });
    this.handle = make("span", { class: "handle", "aria-hidden": "true" });
    const badge = (side, words) => write(make("span", { class: `badge ${side}`, "aria-hidden": "true" }), words);
    this.badges = [badge("before", "compare.before"), badge("after", "compare.after")];
    this.frame = make(
      "div",
      { class: "frame checkerboard" },
      this.after,
      this.before,
      this.slider,
      this.handle,
      ...this.badges,
    );
    this.label = write(make("label", { for: id }), "compare.label");
    this.element = make("figure", { class: "comparison" }, this.frame, make("figcaption", {}, this.label));
  }

  /**
   * Shows two pictures; without `before` the second alone.
   * `place` is where the first lies in the second, as shares of its sides: {left, top, width, height}.
   */
  show({ before, beforeName, after, afterName, place }) {
    this.place = place;
    this.split = null;
    this.slider.value = MIDDLE;
    this.frame.classList.remove("is-ready");
    this.#setTwo(Boolean(before));
    writeAttribute(this.after, "alt", "compare.alt-after", { name: afterName });
    writeAttribute(this.before, "alt", "compare.alt-before", { name: beforeName ?? "" });
    this.after.src = after;
    if (before) {
      this.before.src = before;
    } else {
      this.before.removeAttribute("src");
    }
  }

  /** Hears when the sizes of the pictures are known: `listener({before, after})`, each [width, height] or null. */
  onSizes(listener) {
    this.listener = listener;
  }

  #setTwo(areTwo) {
    for (const element of [this.before, this.slider, this.handle, this.label, ...this.badges]) {
      element.hidden = !areTwo;
    }
    this.#split();
  }

  /** The browser can't show the first picture: a TIFF, say. */
  #lose() {
    this.#setTwo(false);
    this.listener?.({ before: null, after: sizeOf(this.after) });
  }

  #fit() {
    const [after, before] = [sizeOf(this.after), this.before.hidden ? null : sizeOf(this.before)];
    if (!after) {
      return;
    }
    this.frame.style.setProperty("--ratio", String(after[0] / after[1]));
    this.frame.style.setProperty("--natural-width", `${after[0]}px`);
    const place = before && this.#placeOf(before, after);
    for (const side of ["left", "top", "width", "height"]) {
      this.before.style.setProperty(side, `${(place?.[side] ?? { width: 1, height: 1 }[side] ?? 0) * 100}%`);
    }
    this.split = place;
    this.#split();
    this.frame.classList.add("is-ready");
    this.listener?.({ before, after });
  }

  /** Where the first picture lies: the place that was given, if the sizes bear it out, or else all of the frame. */
  #placeOf(before, after) {
    if (!this.place) {
      return null;
    }
    const wanted = before[0] / this.place.width / (before[1] / this.place.height);
    return Math.abs(wanted / (after[0] / after[1]) - 1) <= SAME_SHAPE ? this.place : null;
  }

  #split() {
    const share = Number(this.slider.value) / 100;
    this.frame.style.setProperty("--split", `${share * 100}%`);
    // The first picture is cut where the handle is, also when it fills only a part of the frame.
    const { left, width } = this.split ?? { left: 0, width: 1 };
    const shown = Math.min(Math.max((share - left) / width, 0), 1);
    this.before.style.setProperty("clip-path", `inset(0 ${(1 - shown) * 100}% 0 0)`);
    this.after.style.setProperty("clip-path", this.slider.hidden ? "none" : `inset(0 0 0 ${share * 100}%)`);
    writeAttribute(this.slider, "aria-valuetext", "compare.value", {
      before: Math.round(share * 100),
      after: Math.round((1 - share) * 100),
    });
  }
}

function sizeOf(image) {
  return image.src && image.complete && image.naturalWidth ? [image.naturalWidth, image.naturalHeight] : null;
}

/** Where the picture lies in one that was made wider on its sides; null for any other edit. */
export function placeInside(values) {
  const scales = ["left_scale", "right_scale", "top_scale", "bottom_scale"].map((name) => Number(values[name]));
  if (scales.some(Number.isNaN)) {
    return null;
  }
  const [left, right, top, bottom] = scales;
  const [width, height] = [left + right - 1, top + bottom - 1];
  return { left: (left - 1) / width, top: (top - 1) / height, width: 1 / width, height: 1 / height };
}
