// The client: openapi-fetch with the types that scripts/clients generates in schema.ts. The only code here written by hand.
import createFetchClient, { type Client, type ClientOptions } from "openapi-fetch";
import type { paths } from "./schema.js";

export type * from "./schema.js";

/** A client whose answers are JSON; for pictures and events, `parseAs: "blob"` or `"stream"` in a call says so. */
export type Imgapi = Client<paths, "application/json">;

/** Make a client. Where keys are switched on, send one: `headers: { Authorization: "Bearer …" }`. */
export function createClient(options: ClientOptions & { baseUrl: string }): Imgapi {
  return createFetchClient<paths, "application/json">({ bodySerializer: writeBody, ...options });
}

/** Write a body with a file as a form, any other as JSON. */
function writeBody(body: unknown): FormData | string {
  const fields = Object.entries(body ?? {}).filter(([, value]) => value !== undefined);
  if (!fields.some(([, value]) => value instanceof Blob)) return JSON.stringify(body);
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value instanceof Blob ? value : String(value));
  return form;
}
