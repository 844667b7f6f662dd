"""A workflow on a real server by comfy-cli: its deadline, and who is cancelled."""

import json

import pytest

from wattbench.hosts.remote import comfy_run
from wattbench.hosts.remote.comfy_run import run_workflow
from wattbench.processes.children import script_command

from ...waiting import until

SENDS_AND_TELLS_NO_ID = """
import json, sys, time, urllib.request
address, *files = sys.argv[1:]
for file in files:
    with open(file, "rb") as graph:
        data = json.dumps({"prompt": json.load(graph)}).encode()
    request = urllib.request.Request(f"http://{address}/prompt", data)
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request).close()
print('{"type": "sent"}', flush=True)
time.sleep(600)
"""


def test_a_prompt_that_does_not_end_is_given_up_at_its_deadline(journal_server, write_workflow):
    """Also where the deadline passes before comfy-cli has told the prompt's id."""
    client = journal_server.client
    job = run_workflow(
        client, write_workflow(repeats=1, seed=0, then="wait"), 600, lambda event: None, 12
    )
    assert job.was_late
    assert job.error == "it did not end within its deadline of 12 s"
    until(lambda: client.queued() == {})
    job = run_workflow(
        client, write_workflow(repeats=1, seed=0, then="succeed"), 600, lambda event: None, 600
    )
    assert not job.was_late
    assert job.error == ""
    assert len(job.outputs) == 1


def test_what_was_sent_and_not_named_is_cancelled_and_nothing_else(
    journal_server, write_workflow, tmp_path, monkeypatch
):
    client = journal_server.client
    script = tmp_path / "sends.py"
    script.write_text(SENDS_AND_TELLS_NO_ID, "utf-8")
    ours = write_workflow(repeats=1, seed=0, then="wait")
    graph = json.loads(ours.read_text("utf-8"))
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps({**graph, "4": graph["3"]}), "utf-8")
    command = script_command(script, client.address, str(ours), str(foreign))
    monkeypatch.setattr(comfy_run, "_command", lambda *given: command)

    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_workflow(client, ours, 600, interrupt)
    [(left, of)] = client.queued().items()
    client.cancel(left)
    assert set(of) == {*graph, "4"}
