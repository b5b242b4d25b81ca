/** Follows a task by its server-sent events; EventSource could not send a key. */

import { Told, Unreachable, isAbort } from "./service.js";

const FINAL = ["succeeded", "failed", "canceled"];
// The service breaks its silence every 15 s; after this long the line is dead, whatever the browser thinks.
const SILENCE_MS = 40_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
// Answers that another try does not change.
const LASTING = [400, 401, 403, 404, 410];

/** Whether a task has ended. */
export function hasEnded(task) {
  return FINAL.includes(task.status);
}

/**
 * Follows a task until its end and gives it as it stands then.
 * `onTask` hears of each change, `onCut` of each time that the line breaks; then it goes on behind the last event.
 */
export async function follow(service, taskId, { onTask, onCut, signal }) {
  let last = null;
  let cuts = 0;
  for (;;) {
    try {
      for await (const event of listen(service, taskId, last, signal)) {
        last = event.id ?? last;
        cuts = 0;
        const task = JSON.parse(event.data);
        onTask(task);
        if (hasEnded(task)) {
          return task;
        }
      }
      throw new Unreachable();
    } catch (error) {
      if (signal.aborted || (error instanceof Told && LASTING.includes(error.status))) {
        throw error;
      }
    }
    cuts += 1;
    onCut(cuts);
    await pause(Math.min(FIRST_PAUSE_MS * 2 ** (cuts - 1), LONGEST_PAUSE_MS), signal);
    const task = await look(service, taskId, signal);
    if (task && hasEnded(task)) {
      onTask(task);
      return task;
    }
  }
}

/** Looks at a task without its events, which a proxy may hold back. */
async function look(service, taskId, signal) {
  try {
    return await service.json(`tasks/${taskId}`, { signal });
  } catch (error) {
    if (error instanceof Unreachable || (error instanceof Told && !LASTING.includes(error.status))) {
      return null;
    }
    throw error;
  }
}

async function* listen(service, taskId, last, signal) {
  const line = new AbortController();
  const hangUp = () => line.abort();
  signal.addEventListener("abort", hangUp);
  let timer = setTimeout(hangUp, SILENCE_MS);
  try {
    const headers = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
    const answer = await service.request(`tasks/${taskId}/events`, { headers, signal: line.signal, cache: "no-store" });
    yield* readEvents(answer.body, () => {
      clearTimeout(timer);
      timer = setTimeout(hangUp, SILENCE_MS);
    });
  } catch (error) {
    throw isAbort(error) && !signal.aborted ? new Unreachable() : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", hangUp);
    line.abort();
  }
}

/** Reads a stream of server-sent events; `onSound` hears of every piece, comments among them. */
async function* readEvents(stream, onSound) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      // What no empty line has ended is not an event.
      return;
    }
    onSound();
    const blocks = (rest + decoder.decode(value, { stream: true })).replace(/\r\n?/g, "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = readEvent(block);
      if (event) {
        yield event;
      }
    }
  }
}

function readEvent(block) {
  const event = { id: null, name: "message", data: [] };
  for (const line of block.split("\n")) {
    const [, field, value] = line.match(/^([^:]*):? ?(.*)$/);
    if (field === "data") {
      event.data.push(value);
    } else if (field === "event") {
      event.name = value;
    } else if (field === "id") {
      event.id = value;
    }
  }
  return event.data.length ? { ...event, data: event.data.join("\n") } : null;
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}
