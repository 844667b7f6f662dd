"""The few things we ask of a server over HTTP. ComfyUI's workflows go through comfy-cli instead."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping
from email.message import Message
from typing import Any, ClassVar

from ...errors import CommandError

HTTP_TIMEOUT_S = 60.0
CANCEL_TIMEOUT_S = 10.0
"""An interrupt takes effect between two steps; a longer step is not waited for."""
JSON_HEADERS = {"Content-Type": "application/json"}


class ServerUnreachableError(CommandError):
    """Nobody answers at that address, or not as the program that is expected there does."""


class HttpClient:
    """A server at ``host:port``, whose answers are waited for by ``timeout_s`` at most."""

    program: ClassVar[str] = "ComfyUI"

    def __init__(self, host: str, port: int, timeout_s: float = HTTP_TIMEOUT_S) -> None:
        self.host = host
        self.port = port
        self._timeout_s = timeout_s

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def get_json(self, path: str) -> Any:
        """The JSON document at ``path``.

        Raises:
            ServerUnreachableError: no answer, an error status, or no JSON.
        """
        status, body, _ = self._request(path)
        if status != 200:
            raise ServerUnreachableError(f"{self.address}{path} answered HTTP {status}")
        try:
            return json.loads(body)
        except ValueError as error:
            raise ServerUnreachableError(
                f"{self.address}{path} is not {self.program}: {error}"
            ) from error

    def _request(
        self, path: str, data: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Message]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self._timeout_s)
        try:
            if data is None:
                connection.request("GET", path, headers=dict(headers or {}))
            else:
                connection.request("POST", path, json.dumps(data), JSON_HEADERS)
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachableError(
                f"no {self.program} answers at {self.address} ({error}): is it running?"
            ) from error
        finally:
            connection.close()


class ComfyClient(HttpClient):
    """A ComfyUI server."""

    def output_size(self, filename: str, subfolder: str) -> int:
        """Size in bytes of a file in ComfyUI's output folder; 0 where there is none yet."""
        path = view_path(filename, subfolder, "output")
        status, body, headers = self._request(path, headers={"Range": "bytes=0-0"})
        if status == 206:
            return int(headers["Content-Range"].rpartition("/")[2])
        if status in (200, 404, 416):
            return len(body) if status == 200 else 0
        raise ServerUnreachableError(f"{self.address}{path} answered HTTP {status}")

    def output_from(self, filename: str, subfolder: str, offset: int) -> bytes:
        """What a file in ComfyUI's output folder holds from byte ``offset`` on."""
        path = view_path(filename, subfolder, "output")
        status, body, _ = self._request(path, headers={"Range": f"bytes={offset}-"})
        if status == 206:
            return body
        if status in (200, 404, 416):
            return body[offset:] if status == 200 else b""
        raise ServerUnreachableError(f"{self.address}{path} answered HTTP {status}")

    def view(self, filename: str, subfolder: str, folder_type: str) -> bytes:
        """A file of ComfyUI's ``output``, ``temp`` or ``input`` folder.

        Raises:
            ServerUnreachableError: it cannot be fetched.
        """
        path = view_path(filename, subfolder, folder_type)
        status, body, _ = self._request(path)
        if status != 200:
            raise ServerUnreachableError(f"{self.address}{path} answered HTTP {status}")
        return body

    def queued(self) -> dict[str, dict[str, Any]]:
        """The graphs of the prompts that run or wait, by their ids.

        Raises:
            ServerUnreachableError: no answer, or not ComfyUI's.
        """
        queue = self.get_json("/queue")
        try:
            entries = [*queue["queue_running"], *queue["queue_pending"]]
            return {str(entry[1]): dict(entry[2]) for entry in entries}
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ServerUnreachableError(
                f"{self.address}/queue is not {self.program}'s: {error!r}"
            ) from error

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt off the queue or interrupt it, and give it a while to end.

        What it measured is in the journal once it has ended.
        """
        self._request("/queue", {"delete": [prompt_id]})
        self._request("/interrupt", {"prompt_id": prompt_id})
        deadline = time.monotonic() + CANCEL_TIMEOUT_S
        while time.monotonic() < deadline:
            running = self.get_json("/queue")["queue_running"]
            if not any(entry[1] == prompt_id for entry in running):
                return
            time.sleep(0.1)


def view_path(filename: str, subfolder: str, folder_type: str) -> str:
    """The path and query of ComfyUI's ``/view`` for a file."""
    query = {"filename": filename, "subfolder": subfolder, "type": folder_type}
    return f"/view?{urllib.parse.urlencode(query)}"
