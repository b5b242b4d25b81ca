/** The same call as curl, Python and TypeScript, correct as pasted. */

import { BASE } from "./service.js";
import { Source } from "./source.js";

// Longer than the service holds a caller by default.
const HELD_SECONDS = 330;
const KEY_VARIABLE = "IMGAPI_KEY";
// A data URL is too long for a word of the command line.
const MOST_ARGUMENT_CHARACTERS = 8000;
const PLACEHOLDER = "photo.jpg";
const KEPT_FORMATS = ["jpg", "jpeg", "png", "webp"];

/** The languages, in the order of the page. */
export const LANGUAGES = { curl: writeCurl, Python: writePython, TypeScript: writeTypeScript };

/**
 * Writes a call in one of the languages.
 * `values` are those of the form; a required picture that is not chosen yet stands in as a file of the reader's.
 */
export function writeSnippet(language, operation, values, service) {
  return LANGUAGES[language](describe(operation, values, service));
}

/** Takes a call apart: files that are uploaded first, the rest of the body, where the answer goes. */
function describe(operation, values, service) {
  const given = new Map(values);
  const fields = operation.fields
    .filter((field) => given.has(field.name) || field.isRequired)
    .map((field) => {
      const value = given.get(field.name) ?? new Source({ file: new File([], nameMissing(operation, field)) });
      const isFile = value instanceof Source && Boolean(value.file || field.kind === "file");
      return {
        name: field.name,
        isFile,
        file: isFile ? value : null,
        value: value instanceof Source ? value.url : value,
      };
    });
  const main = fields.find((field) => field.name === operation.main) ?? fields[0];
  return {
    operation,
    fields,
    base: BASE.replace(/\/$/, ""),
    path: `/${operation.path}`,
    uploads: service.document.canUpload,
    hasKey: service.asksForKey,
    output: nameOutput(operation, main),
  };
}

function nameMissing(operation, field) {
  return field.name === operation.main ? PLACEHOLDER : `${field.name.replace(/_(image_)?url$/, "")}.jpg`;
}

function nameOutput(operation, main) {
  const name = main?.file?.name ?? new Source({ url: String(main?.value ?? PLACEHOLDER) }).name;
  const [, stem, ending] = name.match(/^(.*?)(?:\.(\w+))?$/);
  const kept = KEPT_FORMATS.includes(ending?.toLowerCase()) ? ending.toLowerCase() : "png";
  return `${stem || "picture"}-${operation.name}.${operation.name.endsWith("png") ? "png" : kept}`;
}

// --- curl ---

function writeCurl(call) {
  const lines = call.operation.isForm ? curlForm(call) : curlJson(call);
  return `${lines.join("\n")}\n`;
}

function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function curlFile(name, path) {
  const safe = /^[\w ./+@-]+$/.test(path) ? path : `"${path.replace(/["\\]/g, "\\$&")}"`;
  return `-F ${quote(`${name}=@${safe}`)}`;
}

function curlKey(call) {
  return call.hasKey ? [`-H "Authorization: Bearer $${KEY_VARIABLE}"`] : [];
}

function curlForm(call) {
  const parts = call.fields.map((field) =>
    field.isFile ? curlFile(field.name, field.file.name) : `-F ${quote(`${field.name}=${field.value}`)}`,
  );
  const output = quote(call.output);
  const words = [
    `curl -sS --fail-with-body ${quote(call.base + call.path)}`,
    ...curlKey(call),
    ...parts,
    "-H 'Accept: image/*'",
  ];
  return [`${[...words, `-o ${output}`].join(" \\\n  ")} || cat ${output}`];
}

function curlJson(call) {
  const files = call.fields.filter((field) => field.isFile);
  const lines = files.map((field) => `${field.name}=$(${curlPicture(call, field)})`);
  const words = [`curl -sS ${quote(call.base + call.path)}`, ...curlKey(call), "-H 'Content-Type: application/json'"];
  const plain = quote(JSON.stringify(bodyOf(call), null, 2));
  if (!files.length && plain.length <= MOST_ARGUMENT_CHARACTERS) {
    return [[...words, `-d ${plain}`].join(" \\\n  ")];
  }
  // In a here document the shell would read these.
  const body = JSON.stringify(
    bodyOf(call, (field) => `\u0000${field.name}\u0000`),
    null,
    2,
  ).replace(/[\\$`]/g, "\\$&");
  const filled = body.replace(/\\\\u0000(\w+)\\\\u0000/g, (_, name) => `\${${name}}`);
  return [...lines, [...words, "-d @- <<JSON"].join(" \\\n  "), filled, "JSON"];
}

function curlPicture(call, field) {
  const { file } = field;
  if (!call.uploads) {
    return `printf 'data:${file.type};base64,'; base64 < ${quote(file.name)} | tr -d '\\n'`;
  }
  const words = ["curl -sS", ...curlKey(call), curlFile("file", file.name), quote(`${call.base}/files`)];
  return `${words.join(" ")} | sed 's/.*"url":"\\([^"]*\\)".*/\\1/'`;
}

function bodyOf(call, stand = () => null) {
  return Object.fromEntries(call.fields.map((field) => [field.name, field.isFile ? stand(field) : field.value]));
}

// --- Python ---

function writePython(call) {
  const { isForm } = call.operation;
  const files = call.fields.filter((field) => field.isFile);
  const needsBase64 = isForm || "image_data" in call.operation.reply || (files.length > 0 && !call.uploads);
  const needsPath = isForm || "image_data" in call.operation.reply || files.length > 0;
  const lines = [
    ...(needsBase64 ? ["import base64"] : []),
    ...(call.hasKey ? ["import os"] : []),
    ...(needsPath ? ["from pathlib import Path"] : []),
    "",
    "import httpx  # pip install httpx",
    "",
    `BASE = ${python(call.base)}`,
    ...(call.hasKey ? [`HEADERS = {"Authorization": f"Bearer {os.environ['${KEY_VARIABLE}']}"}`] : []),
    "",
    "",
    "def post(path, **request):",
    `    answer = httpx.post(BASE + path, timeout=${HELD_SECONDS}${call.hasKey ? ", headers=HEADERS" : ""}, **request)`,
    "    if answer.is_error:",
    '        raise SystemExit(answer.json()["error"])',
    "    return answer.json()",
    "",
    "",
    ...(isForm ? pythonForm(call) : pythonJson(call, files)),
    ...pythonReply(call),
  ];
  return `${lines.join("\n").replace(/^\n+/, "")}\n`;
}

function pythonFile(file) {
  return `(${python(file.name)}, Path(${python(file.name)}).read_bytes())`;
}

function pythonForm(call) {
  const files = call.fields
    .filter((field) => field.isFile)
    .map((field) => `${python(field.name)}: ${pythonFile(field.file)}`);
  const rest = call.fields
    .filter((field) => !field.isFile)
    .map((field) => `${python(field.name)}: ${python(String(field.value))}`);
  const data = rest.length ? `, data={${rest.join(", ")}}` : "";
  return [`reply = post(${python(call.path)}, files={${files.join(", ")}}${data})`];
}

function pythonJson(call, files) {
  const pictures = files.map(({ name, file }) =>
    call.uploads
      ? `${name} = post("/files", files={"file": ${pythonFile(file)}})["url"]`
      : `${name} = "data:${file.type};base64," + base64.b64encode(Path(${python(file.name)}).read_bytes()).decode()`,
  );
  const body = call.fields.map(
    (field) => `    ${python(field.name)}: ${field.isFile ? field.name : python(field.value)},`,
  );
  return [...pictures, `reply = post(${python(call.path)}, json={`, ...body, "})"];
}

function pythonReply(call) {
  switch (replyKind(call)) {
    case "data":
      return [`Path(${python(call.output)}).write_bytes(base64.b64decode(reply.pop("image_data")))`, "print(reply)"];
    case "list":
      return ['for result in reply["results"]:', '    print(result["url"])'];
    case "one":
      return ['print(reply["results"]["url"])'];
    default:
      return ['print(reply["image_url"])'];
  }
}

/** Writes a value of JSON as Python does. */
function python(value) {
  if (Array.isArray(value)) {
    return `[${value.map(python).join(", ")}]`;
  }
  if (value !== null && typeof value === "object") {
    return `{${Object.entries(value)
      .map(([name, each]) => `${python(name)}: ${python(each)}`)
      .join(", ")}}`;
  }
  const names = { true: "True", false: "False", null: "None" };
  return typeof value === "string" ? JSON.stringify(value) : (names[String(value)] ?? String(value));
}

// --- TypeScript ---

function writeTypeScript(call) {
  const { isForm } = call.operation;
  const files = call.fields.filter((field) => field.isFile);
  const hasData = replyKind(call) === "data";
  const fromDisk = !isForm && files.length > 0 && !call.uploads;
  const promised = [fromDisk && "readFile", hasData && "writeFile"].filter(Boolean);
  const lines = [
    ...(files.length && !fromDisk ? ['import { openAsBlob } from "node:fs";'] : []),
    ...(promised.length ? [`import { ${promised.join(", ")} } from "node:fs/promises";`] : []),
    "",
    `const base = ${JSON.stringify(call.base)};`,
    ...(call.hasKey ? ["const headers = { Authorization: `Bearer ${process.env." + KEY_VARIABLE + "}` };"] : []),
    "",
    ...(isForm ? typeScriptForm(call) : typeScriptJson(call, files)),
    "if (!answer.ok) throw new Error(await answer.text());",
    "const reply = JSON.parse(await answer.text());",
    ...typeScriptReply(call),
  ];
  return `${lines.join("\n").replace(/^\n+/, "")}\n`;
}

function typeScriptForm(call) {
  const parts = call.fields.flatMap((field) => typeScriptPart("form", field.name, field));
  const headers = call.hasKey ? ", headers" : "";
  return [
    "const form = new FormData();",
    ...parts,
    `const answer = await fetch(base + ${JSON.stringify(call.path)}, { method: "POST"${headers}, body: form });`,
  ];
}

function typeScriptPart(form, name, field) {
  if (!field.isFile) {
    return [`${form}.append(${JSON.stringify(name)}, ${JSON.stringify(String(field.value))});`];
  }
  const file = JSON.stringify(field.file.name);
  return [`${form}.append(${JSON.stringify(name)}, await openAsBlob(${file}), ${file});`];
}

function typeScriptJson(call, files) {
  const pictures = files.flatMap((field) => (call.uploads ? typeScriptUpload(call, field) : typeScriptData(field)));
  const body = call.fields.map(
    (field) => `    ${field.isFile ? field.name : `${field.name}: ${JSON.stringify(field.value)}`},`,
  );
  const headers = `${call.hasKey ? "...headers, " : ""}"Content-Type": "application/json"`;
  return [
    ...pictures,
    `const answer = await fetch(base + ${JSON.stringify(call.path)}, {`,
    '  method: "POST",',
    `  headers: { ${headers} },`,
    "  body: JSON.stringify({",
    ...body,
    "  }),",
    "});",
  ];
}

function typeScriptUpload(call, field) {
  const [form, uploaded] = [`${field.name}_form`, `${field.name}_uploaded`];
  return [
    `const ${form} = new FormData();`,
    ...typeScriptPart(form, "file", field),
    `const ${uploaded} = await fetch(base + "/files", { method: "POST"${call.hasKey ? ", headers" : ""}, body: ${form} });`,
    `if (!${uploaded}.ok) throw new Error(await ${uploaded}.text());`,
    `const ${field.name} = JSON.parse(await ${uploaded}.text()).url;`,
    "",
  ];
}

function typeScriptData({ name, file }) {
  const content = `(await readFile(${JSON.stringify(file.name)})).toString("base64")`;
  return [`const ${name} = "data:${file.type};base64," + ${content};`, ""];
}

function typeScriptReply(call) {
  switch (replyKind(call)) {
    case "data":
      return [
        "const { image_data, ...rest } = reply;",
        `await writeFile(${JSON.stringify(call.output)}, Buffer.from(image_data, "base64"));`,
        "console.log(rest);",
      ];
    case "list":
      return ["for (const result of reply.results) console.log(result.url);"];
    case "one":
      return ["console.log(reply.results.url);"];
    default:
      return ["console.log(reply.image_url);"];
  }
}

/** Where the documented reply has its picture. */
function replyKind({ operation: { reply } }) {
  if ("image_data" in reply) {
    return "data";
  }
  return "results" in reply ? (reply.results.type === "array" ? "list" : "one") : "link";
}
