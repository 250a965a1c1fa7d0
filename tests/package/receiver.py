"""A review platform: takes everything, and writes down what came, a line each."""
import http.server


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open("/play/got", "a") as got:
            got.write(self.headers["webhook-id"] + " " + body.decode() + "\n")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 9900), Receiver).serve_forever()
