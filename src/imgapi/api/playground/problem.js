/** Tells what went wrong as a person wants to know it: what, why, what to do, and whether it costs. */

import { icon, make } from "./elements.js";
import { Told, Unreachable } from "./service.js";
import { hasWords, write } from "./words.js";

/** Shows one problem at a time. */
export class ProblemView {
  constructor(element) {
    this.element = element;
  }

  /** Shows an error; `field` is the field that it is about, if the form has it. */
  show(error, field = null) {
    const { title, parts } = explain(error);
    const body = make("div", {}, write(make("strong"), ...title), ...parts);
    if (field) {
      const way = write(
        make("button", { type: "button", class: "quiet", click: () => field.focus() }),
        "problem.to-field",
      );
      body.append(way);
    }
    this.element.replaceChildren(icon("problem"), body);
    this.element.hidden = false;
  }

  /** Shows words about something that needs no more than them. */
  say(...words) {
    this.element.replaceChildren(icon("problem"), make("div", {}, write(make("strong"), ...words)));
    this.element.hidden = false;
  }

  hide() {
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}

function explain(error) {
  if (error instanceof Told) {
    return tell(error);
  }
  if (error instanceof Unreachable) {
    return { title: ["problem.unreachable"], parts: [write(make("p"), "problem.unreachable.hint")] };
  }
  return { title: ["problem.any"], parts: [make("p", { class: "sentence", lang: "en" }, String(error))] };
}

function tell(error) {
  const { code, billed, request_id: requestId, task_id: taskId } = error.answer;
  const parts = [make("p", { class: "sentence", lang: "en" }, error.message)];
  if (hasWords(`problem.${code}.hint`)) {
    parts.push(write(make("p"), `problem.${code}.hint`));
  }
  if (error.retryAfter) {
    parts.push(write(make("p"), "problem.retry", { count: error.retryAfter }));
  }
  if (billed === false) {
    parts.push(write(make("p"), "billed.nothing"));
  } else if (billed !== undefined) {
    parts.push(write(make("p"), billed === true ? "billed.yes" : "billed.unknown"));
  }
  const names = [code, requestId && `request ${requestId}`, taskId && `task ${taskId}`].filter(Boolean).join(" · ");
  parts.push(make("p", { class: "names" }, make("code", {}, names)));
  return { title: [[`problem.${code}`, "problem.any"]], parts };
}
