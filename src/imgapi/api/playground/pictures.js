/** The field of a picture: dropped, pasted, chosen, or named by its URL. */

import { icon, make } from "./elements.js";
import { Field } from "./field.js";
import { Source } from "./source.js";
import { bytes, wipe, write, writeAttribute } from "./words.js";

const ACCEPTED = "image/*,.svg,.tif,.tiff,.bmp";

/** The field of a picture; `size` is [width, height] as the browser sees it, or null. */
export class PictureField extends Field {
  #source = null;

  constructor(described, operation, service) {
    super(described, operation);
    this.service = service;
    this.size = null;
    this.#makeZone();
    this.#makeAddress();
    this.element = this.#lay();
    for (const kind of ["dragenter", "dragover"]) {
      this.element.addEventListener(kind, () => this.zone.classList.add("is-over"));
    }
    for (const kind of ["dragleave", "drop"]) {
      this.element.addEventListener(kind, () => this.zone.classList.remove("is-over"));
    }
    document.addEventListener("language", () => this.#tell());
  }

  #makeZone() {
    this.chooser = make("input", {
      type: "file",
      id: this.id,
      class: "visually-hidden",
      accept: ACCEPTED,
      "aria-describedby": this.describedBy,
      change: () => this.#choose(),
    });
    this.image = make("img", {
      class: "checkerboard",
      alt: "",
      hidden: true,
      referrerpolicy: "no-referrer",
      load: () => this.#seen(),
      error: () => this.#unseen(),
    });
    this.invitation = write(make("span", { class: "invitation" }), "picture.invite");
    this.caption = make("span", { class: "caption", "aria-live": "polite" });
    this.zone = make(
      "label",
      { class: "drop", for: this.id },
      icon("picture"),
      this.image,
      make("span", {}, this.caption, this.invitation),
    );
    this.removal = make(
      "button",
      { type: "button", class: "quiet", hidden: true, click: () => this.#remove() },
      icon("remove"),
    );
    writeAttribute(this.removal, "aria-label", "picture.remove");
  }

  #makeAddress() {
    this.address = make("input", {
      type: "url",
      inputmode: "url",
      id: `${this.id}-address`,
      placeholder: "https://…",
      spellcheck: "false",
      autocomplete: "off",
      "aria-describedby": this.problem.id,
      input: () => this.#type(),
      change: () => this.#name(),
    });
  }

  #lay() {
    const zone = make("div", { class: "zone" }, this.chooser, this.zone, this.removal);
    const group = make("fieldset", { class: "field picture" }, this.label("legend"), this.about, zone);
    if (this.described.kind === "picture") {
      const label = write(make("label", { for: this.address.id }), "picture.url");
      group.append(make("div", { class: "address" }, label, this.address));
    }
    group.append(this.problem);
    return group;
  }

  get control() {
    return this.chooser;
  }

  get source() {
    return this.#source;
  }

  get value() {
    return this.#source ?? undefined;
  }

  reset() {
    this.put(null);
  }

  check() {
    return this.described.isRequired && !this.#source ? ["check.picture"] : null;
  }

  /** Takes a file that was dropped, pasted or chosen. */
  take(file) {
    this.put(new Source({ file }));
  }

  /** Takes the URL of a picture. */
  fill(url) {
    this.put(new Source({ url }));
  }

  /** Takes a picture, or none; the same picture may be in other forms as well. */
  put(source) {
    this.#source = source;
    this.size = null;
    this.remark = undefined;
    this.address.value = source?.url && !source.url.startsWith("data:") ? source.url : "";
    this.image.hidden = true;
    this.zone.classList.toggle("is-full", Boolean(source));
    if (source) {
      this.image.src = source.preview(this.service);
    } else {
      this.image.removeAttribute("src");
    }
    this.#tell();
    this.changed();
  }

  #choose() {
    const [file] = this.chooser.files;
    if (file) {
      this.take(file);
      this.chooser.value = "";
    }
  }

  /** Takes what is typed at once, so that Run has it; it is shown when the typing has ended. */
  #type() {
    const url = this.address.value.trim();
    this.#source = url ? new Source({ url }) : null;
    this.size = null;
    this.changed();
  }

  #name() {
    const url = this.address.value.trim();
    this.put(url ? new Source({ url }) : null);
  }

  #remove() {
    this.put(null);
    this.chooser.focus();
  }

  #seen() {
    const { naturalWidth, naturalHeight } = this.image;
    this.size = naturalWidth && naturalHeight ? [naturalWidth, naturalHeight] : null;
    this.image.hidden = false;
    this.#tell();
    this.dispatchEvent(new Event("seen"));
  }

  #unseen() {
    this.image.hidden = true;
    this.remark = "picture.unseen";
    this.#tell();
    this.dispatchEvent(new Event("seen"));
  }

  #tell() {
    this.removal.hidden = !this.#source;
    write(this.invitation, this.#source ? "picture.replace" : "picture.invite");
    if (!this.#source) {
      wipe(this.caption);
      return;
    }
    const { name, file } = this.#source;
    writeAttribute(this.image, "alt", "picture.alt", { name });
    const parts = [name, this.size && `${this.size.join(" × ")} px`, file && bytes(file.size)].filter(Boolean);
    write(this.caption, this.remark ?? "picture.caption", { parts: parts.join(" · ") });
  }
}
