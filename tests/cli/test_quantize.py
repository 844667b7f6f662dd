"""``wattbench quantize`` and ``quant-report``: what they print, write and refuse."""

import re

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from wattbench.cli import main
from wattbench.quant.calibrate import ActivationRange, Calibration


@pytest.fixture
def source(tmp_path):
    random = torch.Generator().manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_file(
        {
            "blocks.0.attn.weight": torch.randn(128, 64, generator=random).bfloat16(),
            "blocks.1.attn.weight": torch.randn(64, 128, generator=random).bfloat16(),
            "img_in.weight": torch.randn(64, 64, generator=random).bfloat16(),
            "conv.weight": torch.randn(64, 32, 3, 3, generator=random),
        },
        path,
    )
    return path


def test_a_file_is_made_and_told(source, tmp_path, capsys):
    target = tmp_path / "new.safetensors"
    keep = ["--keep", "blocks.0.*", "other.*"]
    assert main(["quantize", str(source), str(target), "--format", "fp8", *keep]) == 0
    printed = capsys.readouterr().out
    assert "layers stored as: fp8 (1)" in printed
    assert "as before: 1 (the user keeps it)" in printed
    assert re.search(r"\d GB/s of the source", printed)
    dtypes = {name: tensor.dtype for name, tensor in load_file(target).items()}
    assert dtypes["blocks.0.attn.weight"] == torch.bfloat16
    assert dtypes["blocks.1.attn.weight"] == torch.float8_e4m3fn


def test_a_released_layer_and_a_cast(source, tmp_path):
    target = tmp_path / "new.safetensors"
    arguments = ["--format", "int8", "--keep=-img_in blocks.1.*", "--dtype", "fp16"]
    assert main(["quantize", str(source), str(target), *arguments]) == 0
    dtypes = {name: tensor.dtype for name, tensor in load_file(target).items()}
    assert dtypes["conv.weight"] == dtypes["blocks.1.attn.weight"] == torch.float16
    assert dtypes["img_in.weight"] == torch.float16


def test_calibrated_scales_go_into_the_file(source, tmp_path):
    found = ActivationRange(896.0, 1.0, 896.0, 3)
    calibration = Calibration("model", 100.0, 1, {"blocks.0.attn": found})
    calibration.save(tmp_path / "calibration.json")
    target = tmp_path / "new.safetensors"
    arguments = ["--format", "fp8_static", "--calibration", str(tmp_path / "calibration.json")]
    assert main(["quantize", str(source), str(target), *arguments]) == 0
    tensors = load_file(target)
    assert tensors["blocks.0.attn.input_scale"].item() == 2.0
    assert "blocks.1.attn.input_scale" not in tensors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{source}", "{source}", "--format", "fp8"], "exists; give another name"),
        (["{source}", "{new}", "--format", "fp7"], "unknown weight format 'fp7'"),
        (["{source}", "{new}", "--format", "gguf"], "gguf files are only read"),
        (["{source}", "{new}", "--format", "fp8_static"], "needs calibrated scales"),
        (["{folder}/none.safetensors", "{new}", "--format", "fp8"], "No such file"),
        (["{pickle}", "{new}", "--format", "fp8"], "is a pickle"),
        (
            ["{source}", "{new}", "--format", "fp8_static", "--calibration", "{source}"],
            "is no calibration",
        ),
    ],
)
def test_what_cannot_be_is_refused(source, tmp_path, capsys, arguments, message):
    pickle = tmp_path / "model.ckpt"
    torch.save({"w": torch.zeros(2)}, pickle)
    new = tmp_path / "new.safetensors"
    places = {"source": source, "new": new, "folder": tmp_path, "pickle": pickle}
    filled = [argument.format(**places) for argument in arguments]
    assert main(["quantize", *filled]) == 2
    assert message in capsys.readouterr().err
    assert not new.exists()


def test_a_broken_layer_fails_the_command(source, tmp_path, capsys):
    tensors = load_file(source)
    tensors["blocks.1.attn.weight"][0, 0] = float("nan")
    broken = tmp_path / "broken.safetensors"
    save_file(tensors, broken)
    assert main(["quantize", str(broken), str(tmp_path / "n.safetensors"), "--format", "fp8"]) == 1
    assert "blocks.1.attn" in capsys.readouterr().err


def test_the_report_tells_each_format_and_its_error(source, tmp_path, capsys):
    made = tmp_path / "made.safetensors"
    main(["quantize", str(source), str(made), "--format", "nf4"])
    capsys.readouterr()
    table, picture = tmp_path / "report.csv", tmp_path / "report.svg"
    arguments = ["--reference", str(source), "--csv", str(table), "--plot", str(picture)]
    assert main(["quant-report", str(made), *arguments, "--architecture", "sdxl"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^nf4 +2 +\d+\.\d% .* 20\.\d ", printed, re.MULTILINE)
    assert re.search(r"^fp32 \(convolution\) +1 ", printed, re.MULTILINE)
    assert "64% of the FLOPs of sdxl are products with the weights" in printed
    rows = pd.read_csv(table).set_index("layer")
    assert rows.loc["blocks.0.attn", "format"] == "nf4"
    assert rows.loc["blocks.0.attn", "shape"] == "128x64"
    assert 18 < rows.loc["blocks.0.attn", "sqnr_db"] < 23
    assert "Gaussian bound" in picture.read_text("utf-8")


def test_without_a_reference_errors_are_blank_and_there_is_no_plot(source, tmp_path, capsys):
    made = tmp_path / "made.safetensors"
    main(["quantize", str(source), str(made), "--format", "fp8"])
    assert main(["quant-report", str(made)]) == 0
    printed = capsys.readouterr().out
    assert "No reference file was given" in printed
    assert "Nothing was counted as executed" in printed
    assert main(["quant-report", str(made), "--plot", str(tmp_path / "x.png")]) == 2
    assert "--reference" in capsys.readouterr().err


def test_the_report_can_have_a_row_per_layer(source, tmp_path, capsys):
    made = tmp_path / "made.safetensors"
    main(["quantize", str(source), str(made), "--format", "fp8"])
    capsys.readouterr()
    assert main(["quant-report", str(made), "--reference", str(source), "--layers"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^blocks\.1\.attn +fp8 +64x128 +0\.0 +8\.\d+ +31\.\d ", printed, re.MULTILINE)
    assert re.search(r"^conv +fp32 +64x32x3x3 +0\.1 +32\.00 +inf ", printed, re.MULTILINE)


def test_a_plot_can_be_a_picture_of_pixels(source, tmp_path):
    made = tmp_path / "made.safetensors"
    main(["quantize", str(source), str(made), "--format", "int8"])
    picture = tmp_path / "plot.png"
    main(["quant-report", str(made), "--reference", str(source), "--plot", str(picture)])
    with Image.open(picture) as drawn:
        assert drawn.width == 700


def test_an_unknown_architecture_is_refused(source, capsys):
    assert main(["quant-report", str(source), "--architecture", "moth"]) == 2
    assert "no formula for 'moth'" in capsys.readouterr().err
