"""A headless Chromium for tests, driven over its debugging pipe: no package is needed beside the browser."""

import base64
import functools
import http.server
import itertools
import json
import os
import select
import shutil
import subprocess
import threading
import time

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-pipe"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SECONDS = 500.0  # far above what a busy machine takes


class Browser:
    """One page in a browser.

    Attributes:
      console: what the page wrote to its console, and errors that nothing caught.
      requests: addresses that it asked for.
    """

    def __init__(self, folder, *flags):
        """Starts the browser with a profile in a folder."""
        read_end, self._write = os.pipe()
        self._read, write_end = os.pipe()
        command = [BROWSER, *FLAGS, f"--user-data-dir={folder}", *flags, "about:blank"]
        wiring = f'exec "$@" 3<&{read_end} 4>&{write_end}'
        self._process = subprocess.Popen(
            ["bash", "-c", wiring, "bash", *command],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self._numbers, self._session, self._rest = itertools.count(1), None, b""
        self.console, self.requests, self._loaded = [], [], 0
        pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def close(self):
        """Ends the browser."""
        session, self._session = self._session, None
        if session:
            self._send("Browser.close")
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def _send(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return number

    def _receive(self, until):
        """Returns the next message."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise EOFError("the browser has ended")
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        """Calls a method of the debugging protocol and returns its result."""
        number, until = self._send(method, **parameters), time.monotonic() + SECONDS
        while True:
            message = self._receive(until)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._notice(message)

    def _notice(self, message):
        content = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(content["request"]["url"])
            case "Page.loadEventFired":
                self._loaded += 1
            case "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in content["args"]))
            case "Runtime.exceptionThrown":
                details = content["exceptionDetails"]
                self.console.append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded":
                self.console.append(content["entry"]["text"])

    def go(self, address):
        """Opens an address and waits until it is loaded."""
        before = self._loaded
        self.call("Page.navigate", url=address)
        until = time.monotonic() + SECONDS
        while self._loaded == before:
            self._notice(self._receive(until))

    def evaluate(self, code):
        """Returns the value of an expression, or of the promise that it is."""
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def wait(self, condition):
        """Waits until an expression is true."""
        until = time.monotonic() + SECONDS
        while not self.evaluate(condition):
            if time.monotonic() > until:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def choose(self, selector, path):
        """Chooses a file, as a user does in the dialogue of a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def resize(self, width, height=900):
        """Sets the size of the window in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def picture(self):
        """Returns a PNG of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])


class Server:
    """A static server of folders below one folder."""

    def __init__(self, folder):
        """Starts to serve."""
        handler = functools.partial(Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://localhost:{self._server.server_address[1]}"

    def close(self):
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Answers without a log."""

    def log_message(self, *_):
        """Logs nothing."""
