/** How far a run has come: in words, in seconds, and in a line for screen readers that speaks only of changes. */

import { byId } from "./elements.js";
import { seconds, wipe, write } from "./words.js";

const TICK_MS = 100;

/** Shows how far a run has come. */
export class StageView {
  #timer = null;

  /** Begins with a run that has just been started. */
  begin(run) {
    this.run = run;
    this.last = null;
    byId("waiting").hidden = false;
    byId("run").disabled = true;
    byId("empty").hidden = true;
    wipe(byId("remark"));
    this.show("starting");
    this.#tick();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    bringIntoView(byId("outcome"));
  }

  /** Shows what a run is at. */
  show(name, given = {}) {
    if (name === "uncancelable") {
      this.announce("stage.uncancelable", { reason: given.error.message });
      write(byId("remark"), "stage.uncancelable", { reason: given.error.message });
      return;
    }
    const hasEstimate = name === "queued" && given.estimate > 0;
    const key = `stage.${name}${hasEstimate ? ".estimate" : ""}`;
    write(byId("stage"), key, given);
    byId("waiting").dataset.stage = name;
    // A place in the line that moves is news, an estimate that moves is not.
    const news = `${name} ${given.position ?? ""}`;
    if (news !== this.last) {
      this.last = news;
      this.announce(key, given);
    }
  }

  #tick() {
    byId("seconds").textContent = `${seconds(this.run.seconds)} s`;
  }

  /** Ends with some words for screen readers, or with none when the problem speaks for itself. */
  end(name, given = {}) {
    clearInterval(this.#timer);
    byId("waiting").hidden = true;
    byId("run").disabled = false;
    if (name) {
      this.announce(`stage.${name}`, given);
    }
    // The button that had the focus is gone.
    if (document.activeElement === document.body) {
      byId("run").focus({ preventScroll: true });
    }
  }

  /** Tells screen readers, and nobody else. */
  announce(key, given) {
    write(byId("news"), key, given);
  }
}

/** Scrolls to the top of an element, unless it is well in view. */
function bringIntoView(element) {
  const { top } = element.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) {
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "start", behavior: isCalm ? "auto" : "smooth" });
  }
}
