"""The route that gives a prompt's runs back."""

import json
import urllib.error
import urllib.request

import pytest

from wattbench.measure.protocol.journal import Journal


def get(server, prompt_id):
    address = f"http://{server.client.address}/api/wattbench/runs/{prompt_id}"
    with urllib.request.urlopen(address, timeout=60) as response:
        return json.load(response)


def test_it_gives_the_runs_of_that_prompt_alone(comfy_server, make_run):
    journal = Journal(comfy_server.output_directory / "wattbench" / "journal.jsonl")
    for number, prompt in enumerate(("mine-1", "another", "mine-1", "mine-12")):
        journal.append(make_run(f"route {number}", job_id=prompt, seed=number))
    journal.append(make_run("route warm-up", job_id="mine-1", is_warmup=True))
    answer = get(comfy_server, "mine-1")
    assert answer["count"] == 2
    assert answer["summary"]["rows"][0][1] == "2"
    assert get(comfy_server, "no-such-prompt") == {"count": 0, "summary": None}


@pytest.mark.parametrize("name", ["a.b", "%2e%2e", "x" * 65])
def test_what_is_no_prompt_is_refused(comfy_server, name):
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(comfy_server, name)
    assert refused.value.code == 400
