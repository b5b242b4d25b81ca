/** Shows the same call as code, to be copied. */

import { byId, make } from "./elements.js";
import { LANGUAGES, writeSnippet } from "./snippets.js";
import { say, write } from "./words.js";

const SHOWN_MS = 2500;
// A picture inside a request is thousands of lines long.
const LONGEST_LINE = 2000;

/** Shows the call of a form in one of three languages. */
export class SnippetView {
  constructor(service) {
    this.service = service;
    this.language = Object.keys(LANGUAGES)[0];
    service.addEventListener("key", () => this.#render());
    byId("snippet-languages").append(...Object.keys(LANGUAGES).map((name) => this.#makeChoice(name)));
    byId("copy").addEventListener("click", () => this.#copy());
  }

  #makeChoice(name) {
    const change = () => {
      this.language = name;
      this.#render();
    };
    const input = make("input", { type: "radio", name: "language", value: name, class: "visually-hidden", change });
    input.checked = name === this.language;
    return make("label", { class: "tab" }, input, make("span", {}, name));
  }

  /** Shows the call of a form as it is filled in. */
  show(form) {
    this.form = form;
    this.#render();
  }

  #render() {
    if (!this.form) {
      return;
    }
    this.code = writeSnippet(this.language, this.form.operation, this.form.values(), this.service);
    const lines = this.code
      .split("\n")
      .map((line) => (line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line));
    byId("snippet").textContent = lines.join("\n");
    byId("snippet-key").hidden = !this.service.asksForKey;
  }

  async #copy() {
    const isCopied = await copy(this.code);
    write(byId("copied"), isCopied ? "code.copied" : "code.selected", { language: this.language });
    setTimeout(() => {
      byId("copied").textContent = "";
    }, SHOWN_MS);
  }
}

/** Copies text; over plain http a browser has only the old way, and some have none: then the text is selected. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { class: "visually-hidden", readonly: true, "aria-label": say("code.title") });
    area.value = text;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    if (!isCopied) {
      getSelection().selectAllChildren(byId("snippet"));
    }
    return isCopied;
  }
}
