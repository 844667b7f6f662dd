"""Photograph our accordion and a grid in the real Forge: ``docs/images/forge*.png``.

Run by hand when Forge's face changes, with ``FORGE_PATH`` and ``FORGE_PYTHON`` as for
``test_real_forge.py`` and a browser in ``WATTBENCH_BROWSER``:
``python -m tests.hosts.forge.make_pictures``. The model has random weights, and energy is the
labelled estimate.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tooling.comfyui import comfyui_folder

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "docs" / "images"
PORT = 7914
ADDRESS = f"http://127.0.0.1:{PORT}"
OPTIONS = (
    *("--skip-prepare-environment", "--skip-torch-cuda-test", "--always-cpu", "--api"),
    *("--all-in-fp32", "--no-download-sd-model"),
    *("--server-name", "127.0.0.1", "--port", str(PORT)),
)
REQUEST = {
    "prompt": "a small brown moth made of felt, holding a lit lamp",
    "negative_prompt": "blurry",
    "steps": 4,
    "width": 256,
    "height": 256,
    "seed": 5,
    "sampler_name": "Euler",
    "scheduler": "Normal",
}


def write_models(folder: Path) -> None:
    """A checkpoint in the real layout, made by ComfyUI's own classes."""
    sys.path.insert(0, str(comfyui_folder()))
    sys.argv[1:] = ["--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    from ...reduced_checkpoints import write_sd15_checkpoint

    folder.mkdir(parents=True)
    write_sd15_checkpoint(folder / "random_sd15.safetensors")


def ask(path: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ADDRESS + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=1800) as answer:
        return json.load(answer)


def wait_for(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            ask("/wattbench/arguments")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
        else:
            return
    raise SystemExit("Forge has ended; see its output above")


def photograph_accordion(page: Page) -> None:
    """A benchmark of two repeats, done in the page."""
    page.goto(ADDRESS, timeout=300_000)
    box = page.locator("#script_txt2img_wattbench_accordion, #script_wattbench_accordion").first
    box.wait_for(timeout=300_000)
    box.locator("button.label-wrap").click()
    page.locator("#txt2img_prompt textarea").fill(REQUEST["prompt"])
    page.locator("#txt2img_neg_prompt textarea").fill(REQUEST["negative_prompt"])
    for name in ("steps", "width", "height"):
        field = page.locator(f"#txt2img_{name} input[type=number]").first
        field.fill(str(REQUEST[name]))
        field.press("Tab")
    box.get_by_label("Benchmark: generate again and again").check()
    for label, value in (
        ("Repeats", "3"), ("Warm-ups", "1"), ("Idle power (s)", "1"), ("Longest warm-up (s)", "0"),
    ):  # fmt: skip
        field = box.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Tab")
    box.get_by_label("Meter (empty: as in Settings)").fill("estimate")
    page.locator("#txt2img_generate").click()
    box.get_by_text("All numbers").wait_for(timeout=900_000)
    page.wait_for_timeout(2000)
    box.screenshot(path=IMAGES / "forge.png")


def photograph_grid() -> None:
    """An X/Y/Z plot of two kernels and two step counts."""
    scripts = ask("/sdapi/v1/script-info")
    (kinds,) = (
        argument["choices"]
        for script in scripts
        if script["name"] == "x/y/z plot" and not script["is_img2img"]
        for argument in script["args"]
        if argument["label"] == "X type"
    )
    kernels, steps = kinds.index("[WattBench] Attention"), kinds.index("Steps")
    arguments = [kernels, "", ["sdpa", "sdpa_math"], steps, "2, 4", [], 0, "", []]
    arguments += [True, False, False, False, False, False, False, 0, False]
    ask("/sdapi/v1/options", {"wattbench_meter": "estimate"})
    grid = {**REQUEST, "script_name": "X/Y/Z plot", "script_args": arguments}
    picture = ask("/sdapi/v1/txt2img", grid)["images"][0]
    Image.open(io.BytesIO(base64.b64decode(picture))).save(IMAGES / "forge_grid.png")


def main() -> None:
    forge, python = os.environ["FORGE_PATH"], os.environ["FORGE_PYTHON"]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_models(data / "models" / "Stable-diffusion")
        (data / "extensions").mkdir()
        (data / "extensions" / "wattbench").symlink_to(ROOT, target_is_directory=True)
        places = ["--data-dir", str(data), "--gradio-allowed-path", forge]
        process = subprocess.Popen(
            [python, "launch.py", *OPTIONS, *places],
            cwd=forge,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        try:
            wait_for(process)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=os.environ["WATTBENCH_BROWSER"], args=["--no-sandbox"]
                )
                photograph_accordion(browser.new_page(viewport={"width": 1400, "height": 2400}))
                browser.close()
            photograph_grid()
        finally:
            process.terminate()
            process.wait(60)


if __name__ == "__main__":
    main()
