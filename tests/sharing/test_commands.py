"""bundle, verify and leaderboard, as a user runs them."""

import json
import re
import zipfile
from dataclasses import replace

import pytest

from wattbench import cli
from wattbench.sharing.bundle import CONTENT, canonical, read_bundle
from wattbench.sharing.signing import SignatureError, signer_of

from .test_bundle import rewritten


@pytest.fixture
def call(capsys):
    def run(*arguments):
        code = cli.main([*map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


@pytest.fixture
def bundled(results, sampled_run, call, tmp_path):
    """A bundle of two runs."""
    runs = [sampled_run("a1"), sampled_run("a2", repeat=1)]
    code, told = call("bundle", results("one", *runs), "--out", tmp_path / "b.zip")
    assert code == 0, told
    assert f"fingerprint {read_bundle(tmp_path / 'b.zip').fingerprint}" in told
    return tmp_path / "b.zip"


def test_a_bundle_is_verified(bundled, call):
    code, told = call("verify", bundled)
    assert code == 0
    assert "2 runs, 0 pictures" in told
    assert "not signed" in told
    assert "2 of 2 energies computed anew from samples" in told
    fingerprint = read_bundle(bundled).fingerprint
    assert call("verify", bundled, "--fingerprint", fingerprint[:12])[0] == 0
    code, told = call("verify", bundled, "--fingerprint", "00" + fingerprint[:10])
    assert code == 1
    assert "its fingerprint is not 00" in told


def test_a_number_that_does_not_follow_is_told(bundled, call):
    with zipfile.ZipFile(bundled) as archive:
        document = json.loads(archive.read(CONTENT))
    for phase in document["runs"][0]["phases"]:
        phase["energy"]["energy_j"] *= 0.8
    document["runs"][0]["energy"]["energy_j"] *= 0.7
    code, told = call("verify", rewritten(bundled, {CONTENT: canonical(document)}))
    assert code == 1
    assert "run a1: its energy is" in told


def test_a_signature_holds_for_what_was_signed(results, sampled_run, key, call, tmp_path):
    signed = tmp_path / "signed.zip"
    folder = results("one", sampled_run("a1"))
    assert call("bundle", folder, "--out", signed, "--sign", key)[0] == 0
    code, told = call("verify", signed)
    assert code == 0
    assert re.search(r"signed by SHA256:\S{43}", told)
    signers = tmp_path / "signers"
    signers.write_text(f"moth {key.with_suffix('.pub').read_text()}", "utf-8")
    trusted = ("--signers", signers, "--identity")
    code, told = call("verify", signed, *trusted, "moth")
    assert code == 0
    assert "signed by moth, SHA256:" in told
    assert call("verify", signed, *trusted, "somebody")[0] == 1
    with zipfile.ZipFile(signed) as archive:
        document = json.loads(archive.read(CONTENT))
    document["runs"][0]["seed"] = 5
    code, told = call("verify", rewritten(signed, {CONTENT: canonical(document)}))
    assert code == 1
    assert "ssh-keygen: " in told


def test_who_must_have_signed_is_missed(bundled, key, call, tmp_path):
    code, told = call("verify", bundled, "--signers", key, "--identity", "moth")
    assert code == 1
    assert "it is not signed, and moth should have signed it" in told
    assert call("verify", bundled, "--identity", "moth")[0] == 2
    with pytest.raises(SignatureError):
        signer_of(b"content", b"no signature", None, "")


def test_the_leaderboard_has_a_row_for_each_card(results, sampled_run, call, tmp_path):
    paths = []
    for name, card, watts in (("one", "RTX 3090", 300.0), ("two", "<b>RTX 4090</b>", 200.0)):
        base = sampled_run(f"{name}1", power_w=watts)
        environment = replace(base.environment, gpu_name=card, gpu_uuid=name)
        runs = [replace(base, environment=environment)]
        runs.append(replace(runs[0], run_id=f"{name}2", repeat=1))
        paths.append(tmp_path / f"{name}.zip")
        assert call("bundle", results(name, *runs), "--out", paths[-1])[0] == 0
    code, told = call("leaderboard", *paths, "--out", tmp_path / "page.html")
    assert code == 0, told
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "sdxl, 1024 x 768, 30 steps, euler, cfg 7, batch 2" in page
    assert "<b>RTX" not in page
    rows = re.findall(r"<tr data-card=.*?</tr>", page, re.DOTALL)
    rows = [row.replace("\u00a0", " ") for row in rows]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    assert [row[0] for row in cells] == ["&lt;b&gt;RTX 4090&lt;/b&gt;", "RTX 3090"]
    # 12 s for two pictures.
    assert [row[3] for row in cells] == ["1200 ± 0", "1800 ± 0"]
    assert [row[4] for row in cells] == ["6.000 ± 0.000"] * 2
    assert [row[10] for row in cells] == ["2 of 2", "2 of 2"]
    code, _ = call("leaderboard", *paths, "--out", tmp_path / "pt.html", "--language", "pt-BR")
    assert code == 0
    assert "Somente" not in page
    assert 'lang="pt-BR"' in (tmp_path / "pt.html").read_text("utf-8")


def test_what_cannot_be_is_said(bundled, call, tmp_path):
    assert call("bundle", tmp_path / "none", "--out", tmp_path / "x.zip")[0] == 2
    assert call("bundle", bundled.parent / "one", "--out", tmp_path)[0] == 2
    assert call("verify", tmp_path / "none.zip")[0] == 1
    assert call("leaderboard", tmp_path / "none.zip", "--out", tmp_path / "x.html")[0] == 2
