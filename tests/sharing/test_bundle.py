"""A bundle holds what may be shared, and tells when it was changed."""

import dataclasses
import getpass
import io
import json
import socket
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from wattbench.records import KernelCalls, Run
from wattbench.report.private import scrubber
from wattbench.sharing.bundle import CONTENT, Bundle, BundleError, canonical, read_bundle
from wattbench.sharing.shareable import RUN_FIELDS, WITHHELD, shareable

SERIAL = "GPU-0badc0de-1234-5678-9abc-def012345678"


def write_picture(path, prompt):
    path.parent.mkdir(parents=True, exist_ok=True)
    info = PngInfo()
    info.add_text("prompt", json.dumps({"1": {"inputs": {"text": prompt}}}))
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, pnginfo=info)
    return pixels


def rewritten(path, changes, leave_out=()):
    """The bundle with other members: new bytes by name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = {name: data for name, data in {**members, **changes}.items() if name not in leave_out}
    target = path.with_name("rewritten.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def content_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(CONTENT))


def test_every_field_of_a_run_is_shared_or_withheld():
    fields = {field.name for field in dataclasses.fields(Run)}
    assert fields == RUN_FIELDS | WITHHELD
    assert not RUN_FIELDS & WITHHELD


def test_what_names_a_machine_or_a_person_is_not_in_it(make_run, tmp_path):
    host, user = socket.gethostname(), getpass.getuser()
    secrets = [host, user, SERIAL, "10.1.2.3", "/home/ada/models", "job-77", "a secret moth"]
    run = make_run("a1", job_id="job-77", process_id="boot-5-1234", error="")
    run = replace(
        run,
        environment=replace(run.environment, gpu_uuid=SERIAL),
        condition=replace(run.condition, model="/home/ada/models/moth.safetensors"),
        energy_note=f"{host} said so at http://10.1.2.3:8188/x to {user}",
        kernel_calls=(KernelCalls("linear", "fp8", "bf16", 1, reason=f"{SERIAL} at 10.1.2.3"),),
        picture_file="pictures/one.png",
    )
    failed = make_run("a2", error="no such prompt: 'a secret moth' in \"/home/ada/models\"")
    pixels = write_picture(tmp_path / "pictures" / "one.png", "a secret moth")
    path = Bundle.of([run, failed], tmp_path, "1.0").write(tmp_path / "b.zip")
    with zipfile.ZipFile(path) as archive:
        whole = b"".join(archive.read(name) for name in archive.namelist())
    names = [host, user] if len(user) >= 3 and len(host) >= 3 else []
    for secret in [*names, *(s for s in secrets if s not in (host, user))]:
        assert secret.encode() not in whole, secret
    assert b"moth.safetensors" in whole
    bundle = read_bundle(path)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(bundle.pictures["a1"]))), pixels)
    first, second = bundle.runs
    assert first.environment.gpu_uuid.startswith("card ")
    assert first.process_id.startswith("process ")
    assert second.error == "no such prompt: '…' in [path]"


def test_runs_of_one_card_stay_those_of_one_card(make_run):
    scrub = scrubber()
    first, same = (shareable(make_run(i), scrub) for i in ("a1", "a2"))
    other = replace(make_run("a3").environment, gpu_uuid="GPU-2")
    third = shareable(make_run("a3", environment=other), scrub)
    assert first.environment == same.environment != third.environment
    assert shareable(first, scrub) == first


def test_the_same_runs_make_the_same_file(make_run, tmp_path):
    runs = [make_run("a1"), make_run("a2")]
    one = Bundle.of(runs, pack="1.0").write(tmp_path / "one.zip")
    two = Bundle.of(runs, pack="1.0").write(tmp_path / "two.zip")
    assert one.read_bytes() == two.read_bytes()
    assert read_bundle(one) == Bundle.of(runs, pack="1.0")


def test_a_changed_number_changes_the_fingerprint(make_run, tmp_path):
    path = Bundle.of([make_run("a1")]).write(tmp_path / "b.zip")
    document = content_of(path)
    document["runs"][0]["energy"]["energy_j"] *= 0.9
    changed = read_bundle(rewritten(path, {CONTENT: canonical(document)}))
    assert changed.fingerprint != read_bundle(path).fingerprint


def with_picture(make_run, tmp_path):
    write_picture(tmp_path / "p.png", "x")
    return Bundle.of([make_run("a1", picture_file="p.png")], tmp_path).write(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("changes", "leave_out", "message"),
    [
        ({"pictures/a1.png": b"other"}, (), "the picture a1.png is another one"),
        ({"pictures/zz.png": b"more"}, (), "the picture zz.png is not named"),
        ({}, ("pictures/a1.png",), "the picture a1.png is missing"),
        ({}, (CONTENT,), "there is no bundle.json"),
        ({"../../evil": b""}, (), "it holds '../../evil'"),
        ({"pictures/../x.png": b""}, (), "it holds"),
        ({"notes.txt": b""}, (), "it holds 'notes.txt'"),
        ({CONTENT: b"{}"}, (), "does not say so"),
        ({CONTENT: b"[" * 100_000}, (), "is no JSON"),
        ({CONTENT: b"\xff"}, (), "is no JSON"),
    ],
)
def test_what_was_changed_is_told(make_run, tmp_path, changes, leave_out, message):
    path = rewritten(with_picture(make_run, tmp_path), changes, leave_out)
    with pytest.raises(BundleError, match=message):
        read_bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=2), "version 2 of the format, this WattBench reads 1"),
        (lambda d: d.update(host="ada"), "other fields than a bundle"),
        (lambda d: d["runs"][0].update(host="ada"), "fields that no bundle has: Run.host"),
        (lambda d: d["runs"][0].update(schema_version=1), "run 1 has schema version 1"),
        (lambda d: d["runs"].append(d["runs"][0]), "holds a run twice"),
        (lambda d: d["runs"][0].update(wall_time_s=[1]), "run 1 is no run"),
        (lambda d: d["runs"][0].update(job_id="x"), "tells of a machine or a person"),
        (lambda d: d["runs"][0].update(energy_note="/home/ada/x"), "tells of a machine"),
        (lambda d: d.update(runs=7), "no list of runs"),
        (lambda d: d["runs"].append(7), "run 2 has schema version None"),
    ],
)
def test_what_is_no_bundle_of_ours_is_refused(make_run, tmp_path, change, message):
    path = Bundle.of([make_run("a1")]).write(tmp_path / "b.zip")
    document = content_of(path)
    change(document)
    with pytest.raises(BundleError, match=message):
        read_bundle(rewritten(path, {CONTENT: canonical(document)}))


def test_another_way_of_writing_the_same_is_told(make_run, tmp_path):
    path = Bundle.of([make_run("a1")]).write(tmp_path / "b.zip")
    pretty = json.dumps(content_of(path), indent=1).encode()
    with pytest.raises(BundleError, match="is not written as a bundle's is"):
        read_bundle(rewritten(path, {CONTENT: pretty}))


def test_a_bomb_is_told_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("wattbench.sharing.bundle.MAX_CONTENT_BYTES", 1000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONTENT, b" " * 10**6)
    with pytest.raises(BundleError, match="more than 1000 bytes"):
        read_bundle(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONTENT, b" " * 1000)
    with pytest.raises(BundleError, match="is no JSON"):
        read_bundle(path)


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"\x00" * 4096])
def test_other_files_are_no_bundles(tmp_path, data):
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with pytest.raises(BundleError, match="is no bundle"):
        read_bundle(path)
