"""A headless Chromium, spoken to by the DevTools protocol over two pipes."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import suppress

import pytest

SECONDS = 120
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Browser:
    """One page. Everything that goes wrong on it or leaves the machine is collected."""

    def __init__(self, read, write):
        self._read, self._write, self._rest, self._sent = read, write, b"", 0
        self._session = None
        self.complaints, self.requests, self.loaded = [], [], 0
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._sent:
            pass
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def _receive(self):
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], deadline - time.monotonic())
            assert ready, f"Chromium said nothing for {SECONDS} s"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium ended"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        self._notice(message.get("method"), message.get("params", {}))
        return message

    def _notice(self, method, parameters):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(parameters["args"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded += 1

    def open(self, path, *, width=1300, height=1000, script=True):
        """Load a page from disk; what was collected before is forgotten."""
        self.send("Emulation.setScriptExecutionDisabled", value=not script)
        self.send("Emulation.setEmulatedMedia", media="", features=[])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self._go("about:blank")
        self.complaints, self.requests = [], []
        self._go(path.resolve().as_uri())

    def _go(self, address):
        self.loaded = 0
        self.send("Page.navigate", url=address)
        while not self.loaded:
            self._receive()

    def value(self, expression):
        """What a JavaScript expression gives."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key, text=""):
        """One key on the focused element."""
        code = {"ArrowRight": 39, "ArrowLeft": 37, "Enter": 13, "Tab": 9, "Home": 36}.get(key, 0)
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.send("Input.dispatchKeyEvent", **common, **down)
        self.send("Input.dispatchKeyEvent", **common, type="keyUp")

    def write(self, text):
        """Text into the focused element."""
        self.send("Input.insertText", text=text)

    def click(self, expression):
        """The mouse on the middle of an element."""
        box = f"(() => {{ const e = {expression}; e.scrollIntoView({{block: 'center'}});"
        box += " const r = e.getBoundingClientRect();"
        x, y = self.value(f"{box} return [r.x + r.width / 2, r.y + r.height / 2]; }})()")
        for kind in ("mousePressed", "mouseReleased"):
            at = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.send("Input.dispatchMouseEvent", **at)

    def media(self, *, medium="", **features):
        """Look at the page as printed, or in another theme."""
        named = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.send("Emulation.setEmulatedMedia", media=medium, features=named)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        pytest.fail(f"these tests need Chromium (looked for {', '.join(NAMES)} in PATH)")
    reads, writes = zip(os.pipe(), os.pipe(), strict=True)
    # Chromium reads from 3 and writes to 4; no pipe may lie there already.
    theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (reads[0], writes[1])]
    command = ["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", chromium]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    options += ["--disable-background-networking", "--remote-debugging-pipe"]
    profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
    with subprocess.Popen(
        [*command, *options, profile], pass_fds=theirs, stderr=subprocess.DEVNULL
    ) as process:
        for fd in (reads[0], writes[1], *theirs):
            os.close(fd)
        try:
            browser = Browser(reads[1], writes[0])
            yield browser
            browser._session = None
            with suppress(AssertionError):
                browser.send("Browser.close")
            process.wait(SECONDS)
        finally:
            process.kill()
            os.close(reads[1])
            os.close(writes[0])
