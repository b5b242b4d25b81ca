/** What the OpenAPI document says: the operations, their fields, defaults and samples. */

const GROUPS = ["edits", "utils"];
// The field whose picture the result is compared with: the first of these that an operation has.
const MAIN_PICTURES = ["base_image_url", "person_image_url", "image_url", "image"];
const SIDES = ["height", "width", "x", "y"];

/** Reads the document. */
export class ServiceDocument {
  constructor(content) {
    this.content = content;
    this.canUpload = Boolean(content.paths["/files"]?.post);
    // Where the service says it is, which may not be how this browser reaches it.
    this.ownAddress = JSON.stringify(content).match(/"(https?:\/\/[^"\\]+)\/samples\//)?.[1] ?? null;
    this.sample = JSON.stringify(content).match(/"(https?:\/\/[^"\\]+\/samples\/landscape[^"\\]*)"/)?.[1] ?? null;
    this.operations = Object.entries(content.paths)
      .filter(([, methods]) => GROUPS.includes(methods.post?.tags?.[0]))
      .map(([path, methods]) => this.#readOperation(path, methods.post));
  }

  #readOperation(path, described) {
    const [mediaType, body] = Object.entries(described.requestBody.content)[0];
    const schema = this.#resolve(body.schema);
    const isForm = mediaType === "multipart/form-data";
    const required = schema.required ?? [];
    const fields = Object.entries(schema.properties).map(([name, property]) =>
      this.#readField(name, property, required.includes(name)),
    );
    const answer = described.responses["200"].content;
    return {
      name: path.slice(path.lastIndexOf("/") + 1),
      path: path.slice(1),
      group: described.tags[0],
      summary: described.summary,
      description: described.description,
      isForm,
      isTask: "202" in described.responses,
      reply: this.#resolve(answer["application/json"].schema).properties,
      fields: fields.sort((one, other) => rank(one) - rank(other)),
      main: MAIN_PICTURES.find((name) => fields.some((field) => field.name === name)),
      sample: Object.values(body.examples ?? {})[0]?.value ?? this.#formSample(fields),
    };
  }

  #formSample(fields) {
    const file = fields.find((field) => field.kind === "file");
    return file && this.sample ? { [file.name]: this.sample } : null;
  }

  #readField(name, property, isRequired) {
    const schema = this.#resolve(property);
    const { minimum, maximum, maxLength, maxItems, description } = schema;
    return {
      name,
      kind: this.#kindOf(name, schema),
      isRequired,
      default: schema.default,
      minimum,
      maximum,
      maxLength,
      maxItems,
      description,
      choices: schema.enum,
    };
  }

  #kindOf(name, schema) {
    if (schema.format === "binary" || schema.contentMediaType) {
      return "file";
    }
    if (schema.enum) {
      return "choice";
    }
    if (schema.type === "string") {
      return name.endsWith("_url") ? "picture" : "text";
    }
    if (schema.type === "array" && this.#isBox(schema.items)) {
      return "boxes";
    }
    return ["integer", "number", "boolean"].includes(schema.type) ? schema.type : "json";
  }

  #isBox(items) {
    return this.#options(items).some(
      (option) =>
        Object.keys(option.properties ?? {})
          .sort()
          .join() === SIDES.join(),
    );
  }

  #options(schema) {
    return (schema?.anyOf ?? [schema ?? {}]).map((option) => this.#follow(option));
  }

  /** Gives a schema without references, and without the option of null. */
  #resolve(schema) {
    const options = this.#options(this.#follow(schema)).filter((option) => option.type !== "null");
    return { ...this.#follow(schema), ...(options.length === 1 ? strip(options[0], schema) : {}) };
  }

  #follow(schema) {
    const name = schema?.$ref?.split("/").at(-1);
    return name ? { ...this.content.components.schemas[name], ...omitReference(schema) } : schema;
  }
}

/** An option's own words give way to those of the property that has it. */
function strip(option, schema) {
  return schema?.description ? { ...option, description: schema.description } : option;
}

function omitReference(schema) {
  const { $ref, ...rest } = schema;
  return rest;
}

/** Required pictures come first, then what is written or chosen, then what is seldom needed. */
function rank(field) {
  const isPicture = field.kind === "picture" || field.kind === "file";
  if (isPicture && field.isRequired) {
    return 0;
  }
  return field.kind === "boxes" ? 1 : isPicture ? 3 : 2;
}
