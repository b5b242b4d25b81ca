/** What came out: the pictures, who made them, and what the service says of them. */

import { Comparison } from "./comparison.js";
import { icon, make } from "./elements.js";
import { bytes, seconds, write } from "./words.js";

const PREVIEW = "local-preview";
// How base64 begins for each format.
const STARTS = { "/9j/": "jpeg", iVBO: "png", UklG: "webp" };
const ENDINGS = { jpeg: "jpg", png: "png", webp: "webp" };

/** Shows the reply of an operation. */
export class ResultView {
  constructor(element, service) {
    this.service = service;
    this.comparison = new Comparison();
    this.comparison.onSizes((sizes) => this.#tellSizes(sizes));
    this.maker = make("p", { class: "maker" });
    this.choices = make("div", { class: "choices", role: "group" });
    this.sizes = make("p", { class: "sizes" });
    this.links = make("p", { class: "actions" });
    this.notes = make("ul", { class: "notes" });
    element.append(this.maker, this.comparison.element, this.choices, this.sizes, this.links, this.notes);
    this.element = element;
  }

  /**
   * Shows a reply.
   * `outcome` is {operation, reply, before, beforeName, place, seconds}.
   */
  show(outcome) {
    this.outcome = outcome;
    this.pictures = picturesOf(outcome.reply).map((picture) => ({ ...picture, url: this.service.local(picture.url) }));
    this.#tellMaker();
    this.#offerChoices();
    this.#showPicture(0);
    this.notes.replaceChildren(...notesOf(outcome).map((words) => write(make("li"), ...words)));
    this.element.hidden = false;
  }

  hide() {
    this.element.hidden = true;
  }

  /** Says clearly when no model has made the picture. */
  #tellMaker() {
    const { engine } = this.outcome.reply;
    const [kind, model] = engine?.split(/:(.*)/) ?? ["local"];
    this.maker.className = engine === PREVIEW ? "maker is-preview" : "maker";
    const title = write(make("strong"), `maker.${kind}`, {}, engine);
    const about = write(
      make("span"),
      [`maker.${kind}.${this.outcome.operation.name}.about`, `maker.${kind}.about`],
      { model: model ?? "" },
      "",
    );
    this.maker.replaceChildren(icon(engine === PREVIEW ? "preview" : "done"), make("span", {}, title, " ", about));
  }

  #offerChoices() {
    const buttons = this.pictures.map((_, index) =>
      write(
        make("button", { type: "button", class: "quiet", click: () => this.#showPicture(index) }),
        "result.number",
        { number: index + 1 },
      ),
    );
    this.choices.replaceChildren(...buttons);
    this.choices.hidden = buttons.length < 2;
  }

  #showPicture(index) {
    const { operation, before, beforeName, place } = this.outcome;
    [...this.choices.children].forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
    const picture = this.pictures[index];
    const afterName = { key: `operation.${operation.name}`, otherwise: operation.summary };
    this.comparison.show({ before, beforeName, after: picture.url, afterName, place });
    this.#offerLinks(picture, index);
  }

  #offerLinks(picture, index) {
    const isOurs = picture.url.startsWith("blob:") || new URL(picture.url, location.href).origin === location.origin;
    const number = this.pictures.length > 1 ? `-${index + 1}` : "";
    const name = `${stemOf(this.outcome.beforeName)}-${this.outcome.operation.name}${number}.${picture.ending}`;
    const download = make(
      "a",
      { class: "button", href: picture.url, ...(isOurs ? { download: name } : outside()) },
      icon("download"),
    );
    download.append(write(make("span"), isOurs ? "result.download" : "result.open"));
    const open = write(make("a", { href: picture.url, ...outside() }), "result.full-size");
    this.links.replaceChildren(download, ...(isOurs ? [" ", open] : []));
    this.size = picture.size;
  }

  #tellSizes({ before, after }) {
    const spell = (size) => `${size.join(" × ")} px`;
    const parts = [
      before ? `${spell(before)} → ${spell(after)}` : after && spell(after),
      this.size && bytes(this.size),
    ];
    write(this.sizes, "result.sizes", {
      sizes: parts.filter(Boolean).join(" · "),
      seconds: seconds(this.outcome.seconds),
    });
  }
}

function outside() {
  return { target: "_blank", rel: "noopener noreferrer" };
}

function stemOf(name) {
  return (name ?? "picture").replace(/\.[^.]*$/, "") || "picture";
}

/** The pictures of a reply, whichever of its documented forms it has. */
function picturesOf(reply) {
  if (reply.image_data !== undefined) {
    return [readPicture(reply.image_data)];
  }
  const links = reply.image_url ? [{ url: reply.image_url }] : [reply.results].flat();
  return links.map(({ url }) => ({ url, ending: url.split(/[?#]/)[0].match(/\.(\w{3,4})$/)?.[1] ?? "png" }));
}

function readPicture(data) {
  const format = STARTS[data.slice(0, 4)] ?? "png";
  const content = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([content], { type: `image/${format}` }));
  return { url, ending: ENDINGS[format], size: content.length };
}

/** What the service says of its work, as words for a list. */
function notesOf({ reply }) {
  const notes = (reply.warnings ?? []).map((warning) => [`warning.${warning}`, {}, warning]);
  if (reply.ignored?.length) {
    notes.push(["note.ignored", { fields: reply.ignored.join(", ") }]);
  }
  notes.push(...(reply.prepared ?? []).map((change) => ["note.prepared", { change }]));
  if (reply.confidence !== undefined) {
    notes.push(["note.confidence", { percent: Math.round(reply.confidence * 100) }]);
  }
  if (reply.billed === true && reply.usage) {
    notes.push(["note.billed", { count: reply.usage.images, price: reply.usage.list_price_cny }]);
  } else if (reply.billed === "unknown") {
    notes.push(["billed.unknown"]);
  } else if (reply.billed === false) {
    notes.push(["billed.nothing"]);
  }
  if (reply.image_paths?.length > 1) {
    notes.push(["note.frames", { count: reply.image_paths.length }]);
  }
  if (reply.image_paths) {
    notes.push(...reply.image_paths.map((path) => ["note.file", { path }]));
  }
  if (expiryOf(reply)) {
    notes.push(["note.expires", { time: new Date(expiryOf(reply)) }]);
  }
  return notes;
}

function expiryOf(reply) {
  return [reply.results].flat()[0]?.expires_at ?? reply.expires_at;
}
