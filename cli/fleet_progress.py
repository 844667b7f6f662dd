"""What ``wattbench fleet run`` tells, for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TextIO


class FleetProgress:
    """Prints a line for each event of the coordinator on ``out``, and nothing else."""

    def __init__(self, is_json: bool, out: TextIO) -> None:
        self._is_json, self._out = is_json, out

    def tell(self, event: dict[str, Any]) -> None:
        if self._is_json:
            self._print(json.dumps(event, ensure_ascii=False))
            return
        text = {
            "card": "{card}: {label} takes part",
            "back": "{card}: {label} is back",
            "begins": "{card}: block {block} begins",
            "block": "{card}: block {block} is here, {visits} new visits",
            "waits": "{card}: block {block} is not back after {waited_s:.0f} s",
            "trouble": "{card}: {reason}",
            "stopped": "{card}: measures no more: {reason}",
            "unplaceable": "nobody measures {count} cells: {reason}",
        }[event["event"]]
        self._print(text.format(**event, count=len(event.get("cells", ()))))
        if event.get("over"):
            self._print(f"{event['card']}: the plan is over")

    def end(self, lines: Sequence[str]) -> None:
        """What was written."""
        if self._is_json:
            self._print(json.dumps({"event": "end", "files": list(lines)}, ensure_ascii=False))
            return
        self._print("\n".join(lines))

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)
