/** A picture that goes in: a file of this device, or a URL. */

// An uploaded file that is gone this soon is uploaded anew.
const MARGIN_MS = 5 * 60_000;
const TYPES = {
  jpg: "jpeg",
  jpeg: "jpeg",
  png: "png",
  webp: "webp",
  gif: "gif",
  bmp: "bmp",
  tif: "tiff",
  tiff: "tiff",
  svg: "svg+xml",
};

/** A picture that goes in. */
export class Source {
  #preview = null;
  #uploaded = null;

  constructor({ file = null, url = null }) {
    this.file = file;
    this.url = url;
  }

  /** What the picture is called. */
  get name() {
    if (this.file) {
      return this.file.name || "photo.png";
    }
    if (this.url.startsWith("data:")) {
      return `photo.${this.url.match(/^data:image\/(\w+)/)?.[1] ?? "png"}`;
    }
    const last = this.url.split(/[?#]/)[0].split("/").at(-1);
    try {
      return decodeURIComponent(last) || "photo";
    } catch {
      return last;
    }
  }

  /** The type of a file, by its name where the device doesn't know it. */
  get type() {
    const ending = this.name.toLowerCase().split(".").at(-1);
    return this.file?.type.startsWith("image/") ? this.file.type : `image/${TYPES[ending] ?? "png"}`;
  }

  /** Where the browser finds the picture to show it. */
  preview(service) {
    if (this.file) {
      this.#preview ??= URL.createObjectURL(this.file);
      return this.#preview;
    }
    return service.local(this.url);
  }

  /** What the request says of the picture; uploads a file, once. */
  async address(service, signal) {
    if (!this.file) {
      return this.url;
    }
    const goesAt = this.#uploaded?.expires_at ? Date.parse(this.#uploaded.expires_at) : Infinity;
    if (!this.#uploaded || goesAt - Date.now() < MARGIN_MS) {
      this.#uploaded = await service.handOver(this.file, signal);
    }
    return this.#uploaded.url;
  }

  /** Uploads the file anew next time. */
  forgetUpload() {
    this.#uploaded = null;
  }

  /** Gives the picture as a file; a URL has to be one that this browser may read. */
  async asFile(service, signal) {
    if (this.file) {
      return this.file;
    }
    const answer = await service.request(service.local(this.url), { signal });
    return new File([await answer.blob()], this.name, { type: this.type });
  }
}
