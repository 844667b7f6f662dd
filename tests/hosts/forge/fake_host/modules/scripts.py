"""Always-on scripts, called in Forge's order; what they raise is swallowed as Forge does."""

import traceback

AlwaysVisible = object()
scripts_data = []


class Script:
    def title(self):
        raise NotImplementedError

    def show(self, is_img2img):
        return True

    def ui(self, is_img2img):
        pass

    def setup(self, p, *args):
        pass

    def before_process(self, p, *args):
        pass

    def process(self, p, *args):
        pass

    def process_before_every_sampling(self, p, *args, **kwargs):
        pass

    def postprocess_batch(self, p, *args, **kwargs):
        pass

    def postprocess_image(self, p, pp, *args):
        pass

    def postprocess(self, p, processed, *args):
        pass

    def on_after_component(self, callback, *, elem_id):
        self.after = (callback, elem_id)

    def elem_id(self, item_id):
        return f"script_{self.title().lower()}_{item_id}"


class ScriptRunner:
    def __init__(self, *alwayson_scripts):
        self.alwayson_scripts = alwayson_scripts
        self.errors = []

    def _each(self, name, p, *args, **kwargs):
        for script in self.alwayson_scripts:
            try:
                script_args = p.script_args.get(type(script).__name__, ())
                getattr(script, name)(p, *args, *script_args, **kwargs)
            except Exception:
                self.errors.append(traceback.format_exc())

    def setup_scripts(self, p):
        self._each("setup", p)

    def before_process(self, p):
        self._each("before_process", p)

    def process(self, p):
        self._each("process", p)

    def process_before_every_sampling(self, p, **kwargs):
        self._each("process_before_every_sampling", p, **kwargs)

    def postprocess_batch(self, p, images, **kwargs):
        self._each("postprocess_batch", p, images=images, **kwargs)

    def postprocess_image(self, p, pp):
        self._each("postprocess_image", p, pp)

    def postprocess(self, p, processed):
        self._each("postprocess", p, processed)
