// Receives review requests with Node 18 or newer: npm install standardwebhooks && WEBHOOK_SECRET=whsec_… node receiver.mjs
import { createServer } from "node:http";
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, unlinkSync, writeSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const folder = process.env.ASKS ?? "asks";
const LARGEST = 1_000_000;
mkdirSync(folder, { recursive: true });

// Stores a message under its id, whole or not at all. Returns whether it is new.
function store(id, body) {
  const part = `${folder}/.${process.pid}-${Math.random()}`;
  const file = openSync(part, "wx");
  try {
    writeSync(file, body);
    fsyncSync(file);
    linkSync(part, `${folder}/${id}.json`);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  } finally {
    closeSync(file);
    unlinkSync(part);
  }
}

async function receive(request, body) {
  let message;
  try {
    message = webhook.verify(body, request.headers);
  } catch {
    return 401;
  }
  const id = request.headers["webhook-id"];
  if (!/^[a-z]+_[\w-]+$/.test(id)) return 400;
  if (message.type === "ping") return 204;
  // Write to the customer later, from what is stored: never before the answer, and never for a `review.test`.
  return store(id, body) ? 201 : 200;
}

const server = createServer(async (request, response) => {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size <= LARGEST) parts.push(part);
  }
  const body = Buffer.concat(parts).toString();
  const status = size > LARGEST ? 413 : await receive(request, body).catch((error) => (console.error(error), 500));
  response.writeHead(status).end();
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
