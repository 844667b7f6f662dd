"""Requests to a real ComfyUI server."""

import json
import urllib.request


def post(server, path, body, **headers):
    """Send ``body`` as JSON, or as it is where it is bytes; the JSON that is answered.

    Raises:
        urllib.error.HTTPError: the server refuses it.
    """
    request = urllib.request.Request(
        f"http://{server.client.address}{path}",
        data=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **headers},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
