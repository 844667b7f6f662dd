"""The workflows of models: one of a model's files, and one in ``synthetic/`` that needs none.

All that differs between them stands in ``workflows/models.toml``. Where a workflow exists already,
its nodes stay where they lie; ``tests/browser/lay_out.py`` measures and moves them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .shell import ROOT

FOLDER = ROOT / "workflows"
TABLE = FOLDER / "models.toml"
TWINS = "synthetic"
STUDY = FOLDER / "sdxl_illustrious.json"
"""Its benchmark's prompt is that of all of them."""
RUNS, WARMUPS, IDLE_S = 10, 2, 30.0
NAMESPACE = uuid.UUID("e1c0d4f6-6a3b-4b0e-9c53-6f6c0f6e2a61")
TOP_PX, GAP_PX, HEIGHT_PX = 60, 60, 120
"""Where columns begin; between nodes; of a node, before it is measured."""

Output = tuple[int, int, str]
"""Where a wire begins: a node's number, the place of its output, what it carries."""


@dataclass
class Canvas:
    """A workflow as ComfyUI's page saves it, that grows from left to right."""

    name: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)
    x: int = 40
    y: int = TOP_PX
    widest: int = 0

    def column(self, is_raised: bool = False) -> None:
        """What is added from now on lies to the right of all before.

        A raised node lies above the wires that pass by it.
        """
        self.x, self.widest = self.x + self.widest + 70, 0
        self.y = TOP_PX - is_raised * (HEIGHT_PX + 2 * GAP_PX)

    def add(
        self,
        kind: str,
        outputs: Sequence[str] = (),
        wires: Mapping[str, Output] | None = None,
        widgets: Sequence[tuple[str, str, Any]] = (),
        width_px: int = 360,
        height_px: int = HEIGHT_PX,
        **more: Any,
    ) -> list[Output]:
        """Put a node below the last one; ``widgets`` are name, type and value of each.

        Returns where wires from its outputs begin.
        """
        number = len(self.nodes) + 1
        inputs: list[dict[str, Any]] = []
        for slot, (name, (origin, place, carried)) in enumerate((wires or {}).items()):
            link = len(self.links) + 1
            self.links.append([link, origin, place, number, slot, carried])
            self.nodes[origin - 1]["outputs"][place]["links"].append(link)
            inputs.append({"name": name, "type": carried, "link": link})
        for name, kind_of, _ in widgets:
            widget = {"name": name, "type": kind_of, "widget": {"name": name}, "link": None}
            inputs.append(widget)
        values: list[Any] = []
        for name, _, value in widgets:
            values += [value, "fixed"] if name == "seed" else [value]
        properties = {"Node name for S&R": kind, **more.pop("properties", {})}
        self.nodes.append(
            {
                "id": number,
                "type": kind,
                "pos": [self.x, self.y],
                "size": [width_px, height_px],
                "flags": {},
                "order": number - 1,
                "mode": 0,
                "inputs": inputs,
                "outputs": [{"name": o, "type": o, "links": []} for o in outputs],
                "properties": properties,
                "widgets_values": values,
                **more,
            }
        )
        self.y, self.widest = self.y + height_px + GAP_PX, max(self.widest, width_px)
        return [(number, place, carried) for place, carried in enumerate(outputs)]

    def note(self, text: str) -> None:
        colours = {"color": "#432", "bgcolor": "#653"}
        self.add("MarkdownNote", height_px=360, title="Read me", **colours)
        self.nodes[-1].update(properties={}, widgets_values=[text])

    def workflow(self) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid5(NAMESPACE, self.name)),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": {},
            "version": 0.4,
        }


def workflows() -> dict[Path, dict[str, Any]]:
    """Every workflow of :data:`TABLE`, by the file it belongs in; nodes lie where that has them."""
    import tomllib  # A developer's Python has it; that of the other commands may not.

    made: dict[Path, dict[str, Any]] = {}
    for model in tomllib.loads(TABLE.read_text("utf-8"))["model"]:
        for name, build in ((model["name"], _of_files), (f"{TWINS}/{model['name']}", _twin)):
            canvas = Canvas(name)
            build(canvas, model)
            path = FOLDER / f"{name}.json"
            made[path] = _where_it_lies(canvas.workflow(), path)
    return made


def write_workflows() -> None:
    for path, workflow in workflows().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(workflow, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _where_it_lies(workflow: dict[str, Any], path: Path) -> dict[str, Any]:
    if path.is_file():
        before = {node["id"]: node for node in json.loads(path.read_text("utf-8"))["nodes"]}
        for node in workflow["nodes"]:
            former = before.get(node["id"])
            if former is not None and former["type"] == node["type"]:
                node.update(pos=former["pos"], size=former["size"])
    return workflow


def _of_files(canvas: Canvas, model: dict[str, Any]) -> None:
    if "checkpoint" in model:
        kinds = ("MODEL", "CLIP", "VAE")
        denoiser, clip, vae = _load(canvas, "CheckpointLoaderSimple", kinds, model["checkpoint"])
    else:
        encoders = {k: v for k, v in model["text_encoders"].items() if k != "type"}
        settings = [("type", "COMBO", model["text_encoders"]["type"]), DEVICE]
        loader = "DualCLIPLoader" if len(encoders) > 1 else "CLIPLoader"
        casting = [("weight_dtype", "COMBO", "default")]
        unet = model["diffusion_model"]
        (denoiser,) = _load(canvas, "UNETLoader", ("MODEL",), unet, casting)
        (clip,) = _load(canvas, loader, ("CLIP",), encoders, settings)
        (vae,) = _load(canvas, "VAELoader", ("VAE",), model["vae"])
    canvas.note(_about(model, _files(model)))
    if "lora" in model:
        canvas.column(is_raised=True)
        strength = [("strength_model", "FLOAT", 1.0)]
        wires = {"model": denoiser}
        (denoiser,) = _load(
            canvas, "LoraLoaderModelOnly", ("MODEL",), model["lora"], strength, wires
        )
    _measured(canvas, model, denoiser, clip, vae)


def _twin(canvas: Canvas, model: dict[str, Any]) -> None:
    denoiser, clip, vae = canvas.add(
        "WattBenchSyntheticModel",
        ("MODEL", "CLIP", "VAE"),
        widgets=[
            ("architecture", "COMBO", model["architecture"]),
            ("size", "COMBO", "full"),
            ("dtype", "COMBO", "auto"),
            ("seed", "INT", 0),
        ],
    )
    same = model.get("same_cost_as")
    whose = f" They are those of {same}." if same else ""
    canvas.note(
        _about(
            model,
            "The model has its real dimensions and random weights. Time, energy and memory depend "
            f"on the dimensions.{whose} The pictures mean nothing, and every row is marked "
            "**weights=synthetic**.\n\nThis needs a GPU. On a CPU a run takes very long.\n\n"
            f"The same run with real files: **{model['name']}.json**.",
        )
    )
    _measured(canvas, model, denoiser, clip, vae)


DEVICE = ("device", "COMBO", "default")
FOLDERS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "vae_name": "vae",
    "lora_name": "loras",
}


def _load(
    canvas: Canvas,
    kind: str,
    outputs: Sequence[str],
    files: Mapping[str, Sequence[str]],
    widgets: Sequence[tuple[str, str, Any]] = (),
    wires: Mapping[str, Output] | None = None,
) -> list[Output]:
    named = [(key, "COMBO", name) for key, (name, _) in files.items()]
    models = [
        {"name": name, "url": url, "directory": FOLDERS[key]} for key, (name, url) in files.items()
    ]
    widgets = [*named, *widgets]
    return canvas.add(kind, outputs, wires, widgets, properties={"models": models})


def _measured(
    canvas: Canvas, model: dict[str, Any], denoiser: Output, clip: Output, vae: Output
) -> None:
    """The benchmark with what its model needs before it, and what it gives."""
    steps, size_px, given = model["steps"], model["size_px"], {}
    sizes = [("width", "INT", size_px), ("height", "INT", size_px)]
    if "model_sampling" in model:
        canvas.column(is_raised=True)
        widgets = [("sampling", "COMBO", model["model_sampling"]), ("zsnr", "BOOLEAN", False)]
        wires = {"model": denoiser}
        (denoiser,) = canvas.add("ModelSamplingDiscrete", ("MODEL",), wires, widgets, 300)
    if model.get("sigmas") == "SDTurboScheduler":
        canvas.column(is_raised=True)
        widgets = [("steps", "INT", steps), ("denoise", "FLOAT", 1.0)]
        wires = {"model": denoiser}
        (given["sigmas"],) = canvas.add("SDTurboScheduler", ("SIGMAS",), wires, widgets, 300)
    elif model.get("sigmas") == "Flux2Scheduler":
        canvas.column(is_raised=True)
        widgets = [("steps", "INT", steps), *sizes]
        (given["sigmas"],) = canvas.add("Flux2Scheduler", ("SIGMAS",), None, widgets, 300)
    canvas.column()
    images, runs = canvas.add(
        "WattBenchBenchmark",
        ("IMAGE", "WATTBENCH_RUNS"),
        {"model": denoiser, "clip": clip, "vae": vae, **given},
        [
            ("positive", "STRING", _prompt()),
            ("negative", "STRING", ""),
            ("seed", "INT", 0),
            *sizes,
            ("batch_size", "INT", 1),
            ("steps", "INT", steps),
            ("cfg", "FLOAT", model["cfg"]),
            ("sampler_name", "COMBO", model["sampler"]),
            ("scheduler", "COMBO", model["scheduler"]),
            ("warmup_runs", "INT", WARMUPS),
            ("repeats", "INT", RUNS),
            ("idle_seconds", "FLOAT", IDLE_S),
            ("meter", "STRING", "auto"),
        ],
        400,
    )
    canvas.column()
    folder = f"wattbench/{canvas.name}"
    prefix = [("filename_prefix", "STRING", f"{folder}/picture")]
    canvas.add("SaveImage", (), {"images": images}, prefix, 420, 330)
    canvas.add("WattBenchShowSummary", (), {"runs": runs}, (), 620, 470)
    canvas.add("WattBenchExportCSV", (), {"runs": runs}, [("folder", "STRING", folder)], 280)


def _prompt() -> str:
    nodes = json.loads(STUDY.read_text("utf-8"))["nodes"]
    (text,) = (n["widgets_values"][0] for n in nodes if n["type"] == "WattBenchBenchmark")
    return str(text)


def _about(model: dict[str, Any], text: str) -> str:
    steps = f"{model['steps']} steps"
    guidance = "no guidance" if model["cfg"] == 1 else f"CFG {model['cfg']}"
    size = f"{model['size_px']} x {model['size_px']}"
    levels = f"noise levels of {model['sigmas']}" if "sigmas" in model else model["scheduler"]
    settings = f"{RUNS} repeats of {size}, {model['sampler']}, {levels}, {steps}, {guidance}."
    return f"## {model['title']}\n\n{settings}\n\n{model['prescribed']}\n\n{text}"


def _files(model: dict[str, Any]) -> str:
    parts = ("checkpoint", "diffusion_model", "text_encoders", "vae", "lora")
    lines = [
        f"- **models/{FOLDERS[key]}/{value[0]}**"
        for part in parts
        for key, value in model.get(part, {}).items()
        if key in FOLDERS
    ]
    return "\n".join(["### Files", *lines, "", "Nothing is downloaded for you."])
