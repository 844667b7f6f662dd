registered = {"settings": [], "before_ui": [], "app": []}


def on_ui_settings(callback, *, name=None):
    registered["settings"].append(callback)


def on_before_ui(callback, *, name=None):
    registered["before_ui"].append(callback)


def on_app_started(callback, *, name=None):
    registered["app"].append(callback)
