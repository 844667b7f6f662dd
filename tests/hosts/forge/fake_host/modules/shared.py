from types import SimpleNamespace


class State:
    skipped = interrupted = stopping_generation = False
    textinfo = None


class OptionInfo:
    def __init__(self, default=None, label="", component=None):
        self.default, self.label, self.component, self.section = default, label, component, None


class Options:
    def __init__(self):
        self.data = {"live_previews_enable": True, "show_progress_type": "Approx NN"}
        self.data_labels = {}

    def __getattr__(self, name):
        return self.__dict__["data"][name]

    def add_option(self, key, info):
        self.data_labels[key] = info
        self.data.setdefault(key, info.default)


state = State()
opts = Options()
cmd_opts = SimpleNamespace(api_auth=None)
