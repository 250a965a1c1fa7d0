# Receives review requests with Python 3.9 or newer: pip install standardwebhooks && WEBHOOK_SECRET=whsec_… python3 receiver.py
import os
import re
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

WEBHOOK = Webhook(os.environ["WEBHOOK_SECRET"])
FOLDER = os.environ.get("ASKS", "asks")
LARGEST = 1_000_000

def store(id: str, body: bytes) -> bool:
    """Stores a message under its id, whole or not at all. Returns whether it is new."""
    with tempfile.NamedTemporaryFile(dir=FOLDER, prefix=".") as part:
        part.write(body)
        part.flush()
        os.fsync(part.fileno())
        try:
            os.link(part.name, os.path.join(FOLDER, id + ".json"))
        except FileExistsError:
            return False
    folder = os.open(FOLDER, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return True


class Receiver(BaseHTTPRequestHandler):
    timeout = 15
    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            return self.answer(413)
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            message = WEBHOOK.verify(body, headers)
        except WebhookVerificationError:
            return self.answer(401)
        id = headers["webhook-id"]
        if not re.fullmatch(r"[a-z]+_[\w-]+", id):
            return self.answer(400)
        if message.get("type") == "ping":
            return self.answer(204)
        # Write to the customer later, from what is stored: never before the answer, and never for a `review.test`.
        self.answer(201 if store(id, body) else 200)

    def answer(self, status: int):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


os.makedirs(FOLDER, mode=0o700, exist_ok=True)
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Receiver)
print("listening on", server.server_port, flush=True)
server.serve_forever()
