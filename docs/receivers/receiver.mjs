// Receives review requests with Node 18 or newer: npm install standardwebhooks && WEBHOOK_SECRET=whsec_… node receiver.mjs
import { createServer } from "node:http";
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const folder = process.env.ASKS ?? "asks";
const LARGEST = 1_000_000;
mkdirSync(folder, { recursive: true, mode: 0o700 });

function sync(path, file = openSync(path, "r")) {
  fsyncSync(file);
  closeSync(file);
}

// Stores a message under its id, whole or not at all. Returns whether it is new.
function store(id, body) {
  const part = `${folder}/.${process.pid}-${Math.random()}`;
  try {
    writeFileSync(part, body, { flag: "wx", mode: 0o600 });
    sync(part);
    linkSync(part, `${folder}/${id}.json`);
    sync(folder);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(part, { force: true });
  }
}

async function receive(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > LARGEST) return 413;
    parts.push(part);
  }
  const body = Buffer.concat(parts).toString();
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

const server = createServer((request, response) => {
  const failed = (error) => (console.error(error.message), 500);
  receive(request).catch(failed).then((status) => response.writeHead(status, { connection: "close" }).end());
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
