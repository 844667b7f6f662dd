"""WattBench: what an AI image really costs on your machine."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI's door: nothing of the pack is imported before it is opened."""
    from .requirements import log_missing

    log_missing()
    from .nodes import WattBenchExtension

    return WattBenchExtension()
