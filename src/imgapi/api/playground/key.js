/** Asks the reader for a key, where the service asks for one. */

import { byId } from "./elements.js";
import { wipe, write } from "./words.js";

/** The dialog of the key, and the button that opens it. */
export class KeyDialog {
  #resolve = null;

  constructor() {
    this.dialog = byId("key-dialog");
    this.input = byId("key");
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#close(this.input.value.trim() || null);
    });
    byId("key-cancel").addEventListener("click", () => this.#close(null));
    byId("key-forget").addEventListener("click", () => this.#close(""));
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#close(null);
    });
  }

  /** Serves a service: its button is there as soon as the service has asked for a key. */
  serve(service) {
    const button = byId("key-button");
    const follow = () => {
      button.hidden = !service.asksForKey;
      byId("key-forget").hidden = !service.hasKey;
      write(button, service.hasKey ? "key.change" : "key.enter");
    };
    service.addEventListener("key", follow);
    button.addEventListener("click", async () => {
      const key = await this.ask(null);
      if (key !== null) {
        service.setKey(key);
      }
    });
    if (service.asksForKey) {
      follow();
    }
  }

  /** Asks for a key and gives it, or null; `refusal` is what the service said of the last one. */
  ask(refusal) {
    this.#resolve?.(null);
    if (refusal) {
      write(byId("key-refusal"), "key.refused");
    } else {
      wipe(byId("key-refusal"));
    }
    this.input.value = "";
    this.dialog.showModal();
    this.input.focus();
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  #close(key) {
    this.dialog.close();
    const resolve = this.#resolve;
    this.#resolve = null;
    resolve?.(key);
  }
}
