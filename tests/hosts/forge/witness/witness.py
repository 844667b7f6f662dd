"""An extension of Forge that counts on its own, by torch's and Forge's own callbacks.

It is copied into the real Forge by ``test_real_forge.py``. It also knows which of Forge's functions
are no longer what they were when Forge had started.
"""

import sys
import time

from modules import script_callbacks, scripts  # noqa: F401
from torch.nn.modules import module as hooks

COUNTED = {
    "IntegratedUNet2DConditionModel": "unet",
    "Decoder": "decoder",
    "CrossAttention": "attention",
    "QuantizedLinear": "quantized",
}
counts = {}
began_s = {}
fail_at = [0]
first = {}


def reset():
    for name in ("evaluations", "unet", "unet_s", "decoder", "decoder_s", "attention", "quantized"):
        counts[name] = 0
    return {}


def before(module, inputs):
    kind = COUNTED.get(type(module).__name__)
    began_s[kind] = time.perf_counter()
    if kind == "unet" and fail_at[0] and counts["unet"] + 1 == fail_at[0]:
        raise RuntimeError("the witness was told to fail")


def after(module, inputs, output):
    kind = COUNTED.get(type(module).__name__)
    if kind is not None:
        counts[kind] += 1
        if kind in ("unet", "decoder"):
            counts[f"{kind}_s"] += time.perf_counter() - began_s[kind]


def functions():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] not in ("modules", "backend", "modules_forge"):
            continue
        for key, value in list(vars(module).items()):
            if isinstance(value, type) and value.__module__ == name:
                inner = {f"{key}.{k}": f for k, f in vars(value).items() if callable(f)}
                found |= {(name, k): f for k, f in inner.items()}
            elif callable(value):
                found[name, key] = value
    return found


def changed():
    now = functions()
    return [".".join(place) for place in first if now.get(place) is not first[place]]


def fail(at: int = 0):
    fail_at[0] = at
    return {}


def serve(_, app):
    first.update(functions())
    for name, function in (("counts", lambda: counts), ("reset", reset), ("changed", changed)):
        app.add_api_route(f"/witness/{name}", function, methods=["GET"])
    app.add_api_route("/witness/fail", fail, methods=["GET"])


def evaluated(_):
    counts["evaluations"] += 1


reset()
hooks.register_module_forward_pre_hook(before)
hooks.register_module_forward_hook(after)
script_callbacks.on_cfg_denoiser(evaluated)
script_callbacks.on_app_started(serve)
