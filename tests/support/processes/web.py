"""A web server for folders that answers byte ranges, as sharded stores need."""

import http.server
import re
import threading
from contextlib import contextmanager
from functools import partial


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves single byte ranges, as sharded stores need."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            with open(self.translate_path(self.path), "rb") as file:
                content = file.read()
        except OSError:
            return self.answer(404, b"")
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self.answer(200, content)
        first, last = asked.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        stop = int(last) + 1 if first and last else len(content)
        if start >= len(content):
            return self.answer(416, b"", f"bytes */{len(content)}")
        part = content[start:stop]
        span = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        self.answer(206, part, span)

    do_HEAD = do_GET  # noqa: N815

    def answer(self, code, content, span=None):
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", span)
        if code in (200, 206):
            self.send_header("ETag", '"1"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


@contextmanager
def served(folder):
    server = Server(("127.0.0.1", 0), partial(Ranges, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
