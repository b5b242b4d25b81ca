/** One run of an operation: from the press of the button to the reply. */

import { follow, hasEnded } from "./events.js";
import { Told, Unreachable, isAbort, keepForTab, keptForTab, newUuid } from "./service.js";
import { Source } from "./source.js";

const PLACE = "imgapi.task";
// A request with an Idempotency-Key is the same request however often it is sent.
const TRIES = 3;
const GONE = [404, 410];

/** The reader canceled it. */
export class Canceled extends Error {}

/** One run; `onStage(name, given)` hears what it is at. */
export class Run {
  #aborter = new AbortController();
  #isCanceled = false;
  #isSent = false;
  #taskId = null;

  constructor(service, operation, onStage) {
    this.service = service;
    this.operation = operation;
    this.onStage = onStage;
    this.startedAt = Date.now();
  }

  get seconds() {
    return (Date.now() - this.startedAt) / 1000;
  }

  /** Runs with the values of a form and gives the reply; throws Told, Unreachable or Canceled. */
  async start(values, before) {
    try {
      return await (this.operation.isForm ? this.#sendForm(values) : this.#sendJson(values, before));
    } catch (error) {
      throw this.#plain(error);
    }
  }

  /** An abort is a cancel, or the end of waiting for a service that is gone. */
  #plain(error) {
    if (!isAbort(error)) {
      return error;
    }
    return this.#isCanceled ? new Canceled() : new Unreachable();
  }

  async #sendForm(values) {
    const body = new FormData();
    for (const [name, value] of values) {
      if (value instanceof Source) {
        const file = await value.asFile(this.service, this.#aborter.signal);
        body.append(name, file, file.name);
      } else {
        body.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
      }
    }
    this.onStage("working");
    return this.service.json(this.operation.path, {
      method: "POST",
      body,
      headers: { Accept: "application/json" },
      signal: this.#aborter.signal,
    });
  }

  async #sendJson(values, before) {
    const body = {};
    for (const [name, value] of values) {
      body[name] = value instanceof Source ? await this.#address(name, value) : value;
    }
    this.onStage(this.operation.isTask ? "sending" : "working");
    try {
      return await this.#post(JSON.stringify(body), before);
    } catch (error) {
      if (error instanceof Told && error.answer.field) {
        // Perhaps because the upload is gone.
        values.forEach(([, value]) => value instanceof Source && value.forgetUpload());
      }
      throw error;
    }
  }

  async #address(name, source) {
    if (source.file) {
      this.onStage("uploading", { name: source.name });
    }
    try {
      return await source.address(this.service, this.#aborter.signal);
    } catch (error) {
      if (error instanceof Told && error.answer.field === "file") {
        error.answer.field = name;
      }
      throw error;
    }
  }

  async #post(body, before) {
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    const request = { method: "POST", body, headers, signal: this.#aborter.signal };
    if (!this.operation.isTask) {
      return this.service.json(this.operation.path, request);
    }
    Object.assign(headers, { Prefer: "respond-async", "Idempotency-Key": newUuid() });
    // Once it is on its way, its task is worth knowing: a cancel waits for its id.
    delete request.signal;
    this.#isSent = true;
    const task = await this.#insist(request);
    this.#taskId = task.task_id;
    keepForTab(
      PLACE,
      JSON.stringify({ taskId: task.task_id, operation: this.operation.name, startedAt: this.startedAt, before }),
    );
    return this.#see(task);
  }

  async #insist(request) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.service.json(this.operation.path, request);
      } catch (error) {
        if (!(error instanceof Unreachable) || tries === TRIES) {
          throw error;
        }
      }
    }
  }

  /** Follows a task that an earlier visit of the page began. */
  async resume({ taskId, startedAt }) {
    this.#taskId = taskId;
    this.startedAt = startedAt;
    this.onStage("sending");
    try {
      return await this.#see({ task_id: taskId, status: "running" });
    } catch (error) {
      if (error instanceof Told && GONE.includes(error.status)) {
        keepForTab(PLACE, null);
      }
      throw this.#plain(error);
    }
  }

  /** Follows the task to its end and gives its reply. */
  async #see(task) {
    let seen = task;
    if (!hasEnded(seen)) {
      this.#tell(seen);
      if (this.#isCanceled) {
        await this.cancel().catch((error) => this.onStage("uncancelable", { error }));
      }
      const heard = {
        onTask: (changed) => this.#tell(changed),
        onCut: () => this.onStage("cut"),
        signal: this.#aborter.signal,
      };
      seen = await follow(this.service, seen.task_id, heard);
    }
    keepForTab(PLACE, null);
    if (seen.status === "canceled") {
      throw new Canceled();
    }
    if (seen.status === "failed") {
      throw new Told(seen);
    }
    return seen;
  }

  #tell(task) {
    if (task.status === "queued") {
      this.onStage("queued", { position: task.queue_position, estimate: task.estimated_seconds });
    } else if (!hasEnded(task)) {
      this.onStage("running");
    }
  }

  /** Cancels it wherever it is; throws Told when its task has gone too far, and the task goes on. */
  async cancel() {
    this.#isCanceled = true;
    if (!this.#taskId) {
      if (!this.#isSent) {
        this.#aborter.abort();
      }
      return;
    }
    try {
      await this.service.json(`tasks/${this.#taskId}/cancel`, { method: "POST" });
    } catch (error) {
      this.#isCanceled = false;
      if (error instanceof Told) {
        throw error;
      }
      // Nobody is there to cancel it, nor to tell its end.
      this.#aborter.abort();
    }
  }
}

/** What an earlier visit left running, or null. */
export function leftRunning() {
  try {
    return JSON.parse(keptForTab(PLACE) ?? "null");
  } catch {
    return null;
  }
}
