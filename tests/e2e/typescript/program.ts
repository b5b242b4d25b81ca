// What tests/e2e/test_typescript_client.py compiles strictly and runs: node program.js ADDRESS PHOTO
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createClient, type ErrorReply, type TaskReply } from "imgapi-client";

const [address, path] = process.argv.slice(2);
assert(address && path);
const imgapi = createClient({ baseUrl: address });
const photo = new Blob([await readFile(path)]);

// An upload, with a field and without: what is left out is the service's to choose.
const resized = await imgapi.POST("/utils/photo_resize", { body: { image: photo, max_dim: 64 } });
assert(resized.data, JSON.stringify(resized.error));
const size: string = resized.data.resized_size;
assert.equal(size, "64x48px");
const file = await imgapi.POST("/files", { body: { file: photo } });
assert(file.data, JSON.stringify(file.error));
const shown = await imgapi.GET("/files/{name}", { params: { path: { name: file.data.name } }, parseAs: "blob" });
assert.deepEqual(await shown.data?.arrayBuffer(), await photo.arrayBuffer());

// A JSON edit, waited for.
const fixed = await imgapi.POST("/fix", { body: { base_image_url: file.data.url, upscale_factor: 1 } });
assert(fixed.data && "results" in fixed.data && fixed.data.results && "task_metrics" in fixed.data);
const billed: boolean | "unknown" | undefined = fixed.data.billed;
assert.equal(billed, false);
assert.equal(fixed.data.task_metrics?.SUCCEEDED, 1);

// A task, begun and looked at until its end; then its events.
const begun = await imgapi.POST("/remove_watermark", {
  body: { image_url: file.data.url, boxes: [{ x: 4, y: 4, width: 40, height: 20 }, [60, 10, 30, 20]] },
  params: { header: { prefer: "respond-async", "idempotency-key": "typescript-1" } },
});
assert.equal(begun.response.status, 202);
assert(begun.data && "status" in begun.data);
let task: TaskReply = begun.data;
const params = { path: { task_id: task.task_id } };
for (const until = Date.now() + 30_000; Date.now() < until && !task.ended_at; ) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  const looked = await imgapi.GET("/tasks/{task_id}", { params });
  assert(looked.data, JSON.stringify(looked.error));
  task = looked.data;
}
assert.equal(task.status, "succeeded");
const events = await imgapi.GET("/tasks/{task_id}/events", { params, parseAs: "stream" });
const reader = events.data?.pipeThrough(new TextDecoderStream()).getReader();
let told = "";
for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) told += part.value;
assert.match(told, /^event: succeeded$/m);
assert.equal((await imgapi.DELETE("/tasks/{task_id}", { params })).response.status, 204);

// The picture itself.
const cutOut = await imgapi.POST("/remove_bg", {
  body: { image_url: file.data.url },
  headers: { Accept: "image/webp" },
  parseAs: "blob",
});
assert(cutOut.data, JSON.stringify(cutOut.error));
const picture: Blob = cutOut.data;
assert.equal(picture.type, "image/webp");
assert.equal(Buffer.from(await picture.arrayBuffer()).toString("latin1", 8, 12), "WEBP");

// An error, in its shape.
const refused = await imgapi.POST("/change_bg", { body: { base_image_url: file.data.url, ref_image_url: "x", n: 7 } });
const error: ErrorReply | undefined = refused.error;
assert.equal(refused.response.status, 400);
assert.equal(error?.code, "invalid_parameter");
assert.equal(error?.field, "n");

// What must not compile.
export const refusedByTypes = () => [
  // @ts-expect-error A required field is missing.
  imgapi.POST("/fix", { body: { upscale_factor: 2 } }),
  // @ts-expect-error A number is no text.
  imgapi.POST("/fix", { body: { base_image_url: "x", upscale_factor: "2" } }),
  // @ts-expect-error A picture of a form is bytes.
  imgapi.POST("/files", { body: { file: "photo.jpg" } }),
  // @ts-expect-error A task may have failed or been canceled.
  task.status satisfies "queued" | "running" | "succeeded",
  // @ts-expect-error A field that may be absent is not always there.
  task.queue_position + 1,
  // @ts-expect-error A header is text or absent, never null.
  imgapi.POST("/fix", { body: { base_image_url: "x" }, params: { header: { prefer: null } } }),
];
console.log("all held");
