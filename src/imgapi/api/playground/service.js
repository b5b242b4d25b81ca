/** Talks to the service: with the key, if it asks for one, and errors as a person is told them. */

/** The service's address, with the path that a proxy may have put it below; ends in a slash. */
export const BASE = new URL("../", import.meta.url).href;
const KEY_PLACE = "imgapi.key";
const UNAUTHORIZED = 401;

/** What the service says went wrong. */
export class Told extends Error {
  constructor(answer, status = 0, retryAfter = null) {
    super(answer.error);
    this.answer = answer;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Nothing was answered. */
export class Unreachable extends Error {}

/** Whether an error only says that the reader gave up. */
export function isAbort(error) {
  return error?.name === "AbortError";
}

/** Keeps something for as long as the tab is open, also over a reload; null forgets it. */
export function keepForTab(place, value) {
  try {
    if (value === null) {
      sessionStorage.removeItem(place);
    } else {
      sessionStorage.setItem(place, value);
    }
  } catch {
    // A browser that keeps nothing loses it with the page.
  }
}

/** Gives what was kept, or null. */
export function keptForTab(place) {
  try {
    return sessionStorage.getItem(place);
  } catch {
    return null;
  }
}

/** Makes a UUID; `crypto.randomUUID` is only there over https, and a phone in the same house has http. */
export function newUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The service, as one reader reaches it. */
export class Service extends EventTarget {
  #key = keptForTab(KEY_PLACE) ?? "";

  /** `askKey` asks the reader for a key, and gives null when there is none. */
  constructor(askKey) {
    super();
    this.askKey = askKey;
    this.asksForKey = Boolean(this.#key);
    this.document = null;
  }

  get hasKey() {
    return Boolean(this.#key);
  }

  setKey(key) {
    this.#key = key.trim();
    keepForTab(KEY_PLACE, this.#key || null);
    this.dispatchEvent(new Event("key"));
  }

  /** Writes a URL of the service as this browser reaches it; any other stays as it is. */
  local(url) {
    const own = this.document?.ownAddress;
    return own && url.startsWith(`${own}/`) ? new URL(url.slice(own.length + 1), BASE).href : url;
  }

  /**
   * Sends a request and gives its answer; asks for a key when the service does, unless it is quiet.
   * Throws Told or Unreachable.
   */
  async request(path, { isQuiet = false, headers = {}, ...rest } = {}) {
    for (;;) {
      const sent = this.#key ? { ...headers, Authorization: `Bearer ${this.#key}` } : headers;
      const answer = await reach(path, { ...rest, headers: sent });
      if (answer.ok) {
        return answer;
      }
      const told = await readTold(answer);
      if (answer.status !== UNAUTHORIZED) {
        throw told;
      }
      this.asksForKey = true;
      this.dispatchEvent(new Event("key"));
      const key = isQuiet ? null : await this.askKey(this.#key ? told.message : null);
      if (key === null) {
        throw told;
      }
      this.setKey(key);
    }
  }

  /** Sends a request and reads the JSON of its answer. */
  async json(path, options) {
    const answer = await this.request(path, options);
    try {
      return await answer.json();
    } catch (error) {
      throw isAbort(error) ? error : new Unreachable();
    }
  }

  /** Hands a picture over: to the service's files if it takes any, or else inside the request. */
  async handOver(file, signal) {
    if (!this.document.canUpload) {
      return { url: await readDataUrl(file) };
    }
    const body = new FormData();
    body.append("file", file, file.name);
    return this.json("files", { method: "POST", body, signal });
  }
}

async function reach(path, options) {
  try {
    return await fetch(new URL(path, BASE), options);
  } catch (error) {
    throw isAbort(error) ? error : new Unreachable();
  }
}

async function readTold(answer) {
  const seconds = Number(answer.headers.get("Retry-After")) || null;
  try {
    const told = await answer.json();
    if (typeof told.error === "string") {
      return new Told(told, answer.status, seconds);
    }
  } catch (error) {
    if (isAbort(error)) {
      throw error;
    }
    // A proxy before the service answers in a form of its own.
  }
  return new Told({ error: `HTTP ${answer.status} ${answer.statusText}`.trim() }, answer.status, seconds);
}

function readDataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      const data = reader.result.slice(reader.result.indexOf(",") + 1);
      // The service looks at the content; the type has only to be a picture's.
      resolve(`data:${file.type.startsWith("image/") ? file.type : "image/png"};base64,${data}`);
    });
    reader.addEventListener("error", () =>
      reject(new Told({ error: String(reader.error?.message), code: "unreadable_file" })),
    );
    reader.readAsDataURL(file);
  });
}
