// Writes the types of src/schema.ts; scripts/clients runs it: node generate.mjs DOCUMENT TARGET FIRST_LINE
import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [document, target, firstLine] = process.argv.slice(2);
const types = await openapiTS(pathToFileURL(document), {
  // A default is the service's to fill in: its field may be left out.
  defaultNonNullable: false,
  rootTypes: true,
  rootTypesNoSchemaPrefix: true,
  // Pictures, in forms and as answers, are bytes and no text.
  transform: (schema) => (schema.format === "binary" ? ts.factory.createTypeReferenceNode("Blob") : undefined),
});
await writeFile(target, `// ${firstLine}\n${astToString(types)}`);
