"""Run code in a kernel of a session, by Jupyter's own REST and WebSocket API.

What a browser does, without a browser: the same port, the same token.
"""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from hpclaunch.errors import SessionFailed

__all__ = ["Kernel", "Output"]


@dataclass
class Output:
    """What a cell printed and returned.

    Attributes
    ----------
    text : str
        Standard output and error, in order.
    result : str or None
        ``text/plain`` of the last expression.
    error : str or None
        Name, message and traceback of an exception, None where none was raised.
    """

    text: str = ""
    result: str | None = None
    error: str | None = None
    displays: list[dict[str, Any]] = field(default_factory=list)


class Kernel:
    """A kernel of a running Jupyter server; a context manager that ends it.

    Parameters
    ----------
    url : str
        The server's address, ``http://127.0.0.1:PORT``.
    token : str
    timeout : float
        Seconds for a cell, and for the kernel to start.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 300.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self.id = ""
        self._socket: Any = None

    def __enter__(self) -> Kernel:
        import websocket

        self.id = str(self.request("POST", "/api/kernels", {})["id"])
        self._socket = websocket.create_connection(
            f"{self._url.replace('http', 'ws', 1)}/api/kernels/{self.id}/channels",
            header=[f"Authorization: token {self._token}"],
            timeout=self._timeout,
            max_size=None,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self.request("DELETE", f"/api/kernels/{self.id}")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the REST API; the answer's JSON, or None where it has no body.

        Raises
        ------
        urllib.error.HTTPError
            If the server refuses.
        """
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=self._timeout) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def run(self, code: str) -> Output:
        """Run a cell and wait for its end.

        Raises
        ------
        SessionFailed
            If the kernel gives no answer in time.
        """
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": "execute_request",
            "username": "",
            "session": uuid.uuid4().hex,
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        self._socket.send(
            json.dumps(
                {
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": content,
                    "channel": "shell",
                }
            )
        )
        out = Output()
        for kind, said in self._answers(message_id):
            if kind == "stream":
                out.text += said["text"]
            elif kind == "execute_result":
                out.result = said["data"].get("text/plain")
            elif kind == "display_data":
                out.displays.append(said["data"])
            elif kind == "error":
                out.error = "\n".join([f"{said['ename']}: {said['evalue']}", *said["traceback"]])
            elif kind == "status" and said["execution_state"] == "idle":
                return out
        raise SessionFailed(f"the kernel gave no answer within {self._timeout:.0f} s")

    def _answers(self, message_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        from websocket import WebSocketException

        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            try:
                message = json.loads(self._socket.recv())
            except (WebSocketException, OSError) as error:
                raise SessionFailed(f"the kernel gave no answer: {error}") from error
            if message["parent_header"].get("msg_id") == message_id:
                yield message["msg_type"], message["content"]
