"""What ``wattbench fleet run`` tells, for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


class FleetProgress:
    """Prints a line for each event of the coordinator."""

    def __init__(self, is_json: bool) -> None:
        self._is_json = is_json

    def tell(self, event: dict[str, Any]) -> None:
        if self._is_json:
            self._print(event)
            return
        text = {
            "card": "{card}: {label} takes part",
            "back": "{card}: {label} is back",
            "begins": "{card}: block {block} begins",
            "block": "{card}: block {block} is here, {visits} new visits",
            "trouble": "{card}: {reason}",
            "stopped": "{card}: measures no more: {reason}",
            "unplaceable": "nobody measures {count} cells: {reason}",
        }[event["event"]]
        print(text.format(**event, count=len(event.get("cells", ()))), flush=True)
        if event.get("over"):
            print(f"{event['card']}: the plan is over", flush=True)

    def end(self, lines: Sequence[str]) -> None:
        """What was written."""
        if self._is_json:
            self._print({"event": "end", "files": list(lines)})
            return
        print("\n".join(lines), flush=True)

    def _print(self, data: dict[str, Any]) -> None:
        print(json.dumps(data, ensure_ascii=False), flush=True)
