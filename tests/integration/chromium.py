"""A page in headless Chromium, driven through the DevTools protocol over a pipe: no driver and no websockets."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",  # containers run tests as root, where Chromium's sandbox does not start
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
    # Nothing but this machine can be reached from the page.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def chromium_or_skip() -> str:
    """The path of a Chromium; without one the test that asks is skipped."""
    found = next((found for found in map(shutil.which, NAMES) if found), None)
    if found is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    return found


class Page:
    """One page. Use it as a context manager: it ends the browser.

    Args:
        profile: An empty folder for the browser's files.
        chromium: The program.
        seconds: How long any one answer may take.
    """

    def __init__(self, profile: Path, chromium: str, seconds: float = 120) -> None:
        self._seconds = seconds
        self._number = 0
        self._unread = b""
        asked, self._ask = os.pipe()
        self._answers, answered = os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4, whatever they are called here.
        program = 'exec "$0" "$@" 3<&"$EDGEKIT_ASKED" 4>&"$EDGEKIT_ANSWERED"'
        names = {"EDGEKIT_ASKED": str(asked), "EDGEKIT_ANSWERED": str(answered)}
        with (profile / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", program, chromium, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                pass_fds=(asked, answered),
                env=os.environ | names,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(asked)
        os.close(answered)
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self._call("Page.enable")

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self._call("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """What an expression gives, awaited; an error in it is raised here."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression holds."""
        end = time.monotonic() + self._seconds
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.05)

    def upload(self, selector: str, file: Path) -> None:
        """Choose a file in the file input that a selector finds."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screen(self, width: int, height: int, *, dark: bool) -> None:
        """The window's size in CSS pixels, and the colours that the user prefers."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                   mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._ask, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + self._seconds
        while True:
            answer = json.loads(self._read(end))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self, end: float) -> bytes:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self._answers, 1 << 20) if ready else b""
            if not chunk:
                raise TimeoutError(f"Chromium gives no answer (it ended with {self._process.poll()})")
            self._unread += chunk
        message, _, self._unread = self._unread.partition(b"\0")
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._ask)
        os.close(self._answers)
