"""WattBench: what an AI image really costs on your machine."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI's door: nothing of the pack is imported before it is opened."""
    from .requirements import log_missing

    log_missing()
    from .nodes import WattBenchExtension

    return WattBenchExtension()


def __getattr__(name):
    """The door of scripts and notebooks, ``from wattbench import measure, open_meter``.

    ``measure`` is a package of its own; what it does not hold is imported when it is asked for.
    """
    if name == "open_meter":
        from .measure.protocol.functions import open_meter

        return open_meter
    if name == "paired_ratio":
        from .stats import paired_ratio

        return paired_ratio
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
