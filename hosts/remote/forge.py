"""The few things we ask of a running Forge over HTTP."""

from __future__ import annotations

import json
from typing import Any

from ...measure.protocol.journal import read
from ...records import Run
from .client import HttpClient, ServerUnreachableError

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
JOURNAL = "/wattbench/journal"
MISSING = (
    "it has no WattBench, or a password that hides it: install the extension, start Forge with "
    "--api and without --api-auth"
)


class ForgeClient(HttpClient):
    """A Forge with ``--api`` and this pack as an extension."""

    program = "Forge"

    def generate(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """What the API answers to a request for pictures, and what went wrong.

        Raises:
            ServerUnreachableError: no answer within the time.
        """
        status, data, _ = self._request(path, body)
        try:
            answer = json.loads(data)
        except ValueError:
            answer = {}
        if status == 200 and isinstance(answer, dict):
            return answer, ""
        told = answer if isinstance(answer, dict) else {}
        reason = next((str(told[key]) for key in ("errors", "detail") if told.get(key)), "")
        return {}, f"Forge answered HTTP {status}{': ' * bool(reason)}{reason}"

    def interrupt(self) -> None:
        """Stop what is being made; what it measured is in the journal."""
        self._request("/sdapi/v1/interrupt", {})

    def own(self, path: str) -> Any:
        """What a route of the pack answers.

        Raises:
            ServerUnreachableError: it does not answer.
        """
        try:
            return self.get_json(path)
        except ServerUnreachableError as error:
            raise ServerUnreachableError(f"{error}; {MISSING}") from error

    def journal_end(self) -> int:
        """Where the pack's journal ends, in bytes."""
        return int(self.own(JOURNAL)["end"])

    def runs_since(self, offset: int) -> list[Run]:
        """The runs that were written from a byte of the journal on."""
        found, end = b"", offset
        while end < self.journal_end():
            answer = self.own(f"{JOURNAL}?since={end}")
            found += str(answer["text"]).encode()
            end = int(answer["end"])
        return list(read(found).runs)
