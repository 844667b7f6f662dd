"""A workflow on a real server by comfy-cli: its deadline."""

from wattbench.hosts.remote.comfy_run import run_workflow

from ...waiting import until


def test_a_prompt_that_does_not_end_is_given_up_at_its_deadline(journal_server, write_workflow):
    client = journal_server.client
    job = run_workflow(
        client, write_workflow(repeats=1, seed=0, then="wait"), 600, lambda event: None, 30
    )
    assert job.was_late
    assert job.error == "it did not end within its deadline of 30 s"
    until(lambda: client.get_json("/queue")["queue_running"] == [])
    job = run_workflow(
        client, write_workflow(repeats=1, seed=0, then="succeed"), 600, lambda event: None, 600
    )
    assert not job.was_late
    assert job.error == ""
    assert len(job.outputs) == 1
