"""Forge's face of WattBench: the accordion, the settings, and what Forge calls on the way."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import script_callbacks, scripts, shared

from ...requirements import log_missing
from . import axes, quantized, results, routes
from .activity import Activity
from .attention import attention_choices
from .axes import Changed
from .captions import captioned
from .host import FOLDER_OPTION, FORGE, MEASURE_OPTION, METER_OPTION, PNG_OPTION
from .options import CHOSEN, RANGES, Options
from .selection import MEMORY_FORMATS
from .storage import AS_SET, storage_names

TITLE = "WattBench"
SECTION = ("wattbench", TITLE)
DEFAULTS = Options()


class WattBenchScript(scripts.Script):
    """Always there; without anything to do it leaves a generation alone."""

    card: Any = None

    def title(self) -> str:
        return TITLE

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        """The components in the order of :class:`.options.Options`."""
        tab = "img2img" if is_img2img else "txt2img"
        self.on_after_component(self._follow, elem_id=f"generation_info_{tab}")
        with gr.Accordion(TITLE, open=False, elem_id=self.elem_id("accordion")):
            for text in results.complaints():
                gr.Markdown(text)
            with gr.Row():
                known = bool(shared.opts.data.get(MEASURE_OPTION, True))
                switches = [
                    self._checkbox("measure", "Measure every generation", known),
                    self._checkbox("benchmark", "Benchmark: generate again and again"),
                ]
            with gr.Row():
                protocol = self._protocol()
            with gr.Row():
                choices = self._choices()
            with gr.Row():
                buttons = [
                    (gr.Button("Latest", elem_id=self.elem_id("latest")), results.latest_card),
                    (gr.Button("Compare all", elem_id=self.elem_id("all")), results.session_card),
                    (gr.Button("Write tables", elem_id=self.elem_id("write")), results.export),
                ]
            self.card = gr.HTML(elem_id=self.elem_id("card"))
        for button, show in buttons:
            button.click(fn=show, inputs=[], outputs=[self.card], show_progress=False)
        return [*switches, *protocol, *choices]

    def setup(self, p: Any, *args: Any) -> None:
        """However the generation ends, nothing of ours is left once Forge closes it."""
        close = p.close

        def close_all() -> None:
            try:
                close()
            finally:
                FORGE.kept(Activity).end()
                FORGE.kept(Changed).restore()

        p.close = close_all

    def before_process(self, p: Any, *args: Any) -> None:
        FORGE.kept(Activity).begin(p, args)

    def postprocess_batch(self, p: Any, *args: Any, images: Any, **kw: Any) -> None:
        FORGE.kept(Activity).batch_done(p, images)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        runs = FORGE.kept(Activity).finished(p)
        if runs and getattr(p, CHOSEN, None):
            processed.images = [captioned(picture, runs) for picture in processed.images]

    def _follow(self, on: Any) -> None:
        """Forge's page has the text of a new generation: the card is of it."""
        if self.card is not None:
            on.component.change(
                fn=results.latest_card, inputs=[], outputs=[self.card], show_progress=False
            )

    def _protocol(self) -> list[Any]:
        return [
            self._number("repeats", "Repeats"),
            self._number("warmups", "Warm-ups"),
            self._number("idle_s", "Idle power (s)"),
            self._number("max_warmup_s", "Longest warm-up (s)"),
            self._number("cooldown_s", "Rest before (s)"),
            gr.Textbox(
                value=DEFAULTS.meter,
                label="Meter (empty: as in Settings)",
                elem_id=self.elem_id("meter"),
            ),
        ]

    def _choices(self) -> list[Any]:
        return [
            self._dropdown("attention", "Attention", attention_choices()),
            self._checkbox("strict", "Strict: fail where the kernel cannot run a call"),
            self._number("max_error", "Largest error of a kernel that quantizes"),
            self._checkbox("timed", "Time every attention call"),
            self._dropdown("memory_format", "Memory format", list(MEMORY_FORMATS)),
            self._dropdown("weights", "Weights", [AS_SET, *storage_names()]),
        ]

    def _checkbox(self, name: str, label: str, value: bool = False) -> Any:
        return gr.Checkbox(value=value, label=label, elem_id=self.elem_id(name))

    def _dropdown(self, name: str, label: str, choices: list[str]) -> Any:
        value = getattr(DEFAULTS, name)
        return gr.Dropdown(choices=choices, value=value, label=label, elem_id=self.elem_id(name))

    def _number(self, name: str, label: str) -> Any:
        value = getattr(DEFAULTS, name)
        low, high = RANGES[name]
        return gr.Number(
            value=value,
            label=label,
            minimum=low,
            maximum=high,
            precision=0 if isinstance(value, int) else None,
            elem_id=self.elem_id(name),
        )


def register() -> None:
    """What Forge is told each time it loads its scripts; it forgets it before."""
    log_missing()
    quantized.install()
    axes.add_axes()
    script_callbacks.on_ui_settings(_add_settings)
    script_callbacks.on_before_ui(axes.add_axes)
    script_callbacks.on_app_started(routes.add_routes)


def _add_settings() -> None:
    options = {
        MEASURE_OPTION: shared.OptionInfo(True, "Measure every generation", gr.Checkbox),
        METER_OPTION: shared.OptionInfo(
            "auto", "Energy meter: auto, or a name as `wattbench doctor` lists it"
        ),
        FOLDER_OPTION: shared.OptionInfo(
            "wattbench", "Folder of the tables, within the output folder"
        ),
        PNG_OPTION: shared.OptionInfo(
            True, "Write J/img, s/img, meter and run into pictures", gr.Checkbox
        ),
    }
    for key, info in options.items():
        info.section = SECTION
        shared.opts.add_option(key, info)
