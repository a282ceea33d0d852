"""A server on localhost that knows ranges, and cuts connections where it is told to."""

import contextlib
import http.server
import threading


class Server(http.server.ThreadingHTTPServer):
    """Serves bytes by path.

    Attributes:
      files: {path: bytes}.
      cuts: bytes after which to cut the next connections, the first first; afterwards none is cut.
      ranges: whether to honour Range.
      requests: (path, Range header) of every request.
    """

    daemon_threads = True

    def __init__(self, files, cuts=(), ranges=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.ranges, self.requests = dict(files), list(cuts), ranges, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        body = server.files.get(self.path.lstrip("/"))
        if body is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if wanted and server.ranges and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        self.wfile.write(body)

    def log_message(self, *args):
        """Not into the test's output."""


@contextlib.contextmanager
def serving(files, **options):
    """Runs a `Server` in a thread."""
    server = Server(files, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
