// sharp behind fastify: takes the same upload as imgapi, answers with the picture's bytes, or with imgapi's JSON.
// Environment: PORT; ANSWER=json for the same answer as imgapi; PNG_LEVEL for another deflate level than sharp's own.
import multipart from "@fastify/multipart";
import fastify from "fastify";
import sharp from "sharp";

const { PORT, ANSWER, PNG_LEVEL } = process.env;
const server = fastify({ bodyLimit: 64 * 1024 * 1024 });
server.register(multipart, { limits: { fileSize: 64 * 1024 * 1024 } });

async function readUpload(request) {
  const part = await request.file();
  return part.toBuffer();
}

function answer(reply, type, picture) {
  return ANSWER === "json"
    ? reply.type("application/json").send(JSON.stringify({ success: true, image_data: picture.toString("base64") }))
    : reply.type(type).send(picture);
}

server.post("/resize", async (request, reply) => {
  const { side, quality } = request.query;
  const bounds = { width: Number(side), height: Number(side), fit: "inside", kernel: "lanczos3" };
  const picture = await sharp(await readUpload(request))
    .rotate()
    .resize(bounds)
    .jpeg({ quality: Number(quality) })
    .toBuffer();
  return answer(reply, "image/jpeg", picture);
});

server.post("/convert", async (request, reply) => {
  const options = PNG_LEVEL === undefined ? {} : { compressionLevel: Number(PNG_LEVEL) };
  const picture = await sharp(await readUpload(request)).rotate().png(options).toBuffer();
  return answer(reply, "image/png", picture);
});

server.get("/", async () => ({ sharp: sharp.versions.sharp, vips: sharp.versions.vips }));
await server.listen({ port: Number(PORT), host: "127.0.0.1" });
