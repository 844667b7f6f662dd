"""Whatever a request to one of the pack's routes brings, the server answers and does not fail."""

import json
import urllib.error

import pytest

from .posting import post

NAMES = (
    *("own", "other", "name", "most", "clear", "push", "watcher", "interval_s", "leave"),
    *("workflow", "objective", "budget_min", "levers", "every_prompt"),
)
ROUTES = ("live", "watch", "beside", "history", "tune", "tune/cancel")
NUMBERS = [b"NaN", b"-Infinity", b"1e999", b"9" * 5000]
BODIES = {
    "nothing": b"",
    "cut": b'{"interval_s": ',
    "no UTF-8": b"\xff\xfe{}",
    "a list": b"[]",
    "a number": b"7",
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    **{
        f"{name} {number[:9]!r}": b'{"%s": %s}' % (name.encode(), number)
        for name in ("interval_s", "budget_min", "most")
        for number in NUMBERS
    },
    "wrong types": json.dumps({name: [{}] for name in NAMES}).encode(),
    "paths": json.dumps(dict.fromkeys(NAMES, "../../../etc/passwd\0")).encode(),
    "10 MB": json.dumps({"workflow": "x" * 10_000_000}).encode(),
}


@pytest.mark.parametrize("route", ROUTES)
def test_no_body_makes_a_route_fail(comfy_server, route):
    for name, body in BODIES.items():
        try:
            post(comfy_server, f"/api/wattbench/{route}", body)
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            assert error.code < 500, (name, text)
            assert "root:" not in text
        except ValueError:
            pytest.fail(f"{name}: the answer is no JSON")


@pytest.mark.parametrize("route", ROUTES)
def test_a_page_without_an_origin_changes_nothing(comfy_server, route):
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(comfy_server, f"/api/wattbench/{route}", {}, Origin="null")
    assert refused.value.code == 403
