"""Components that hold a value and a label, and remember what they are bound to."""

made = []


class Component:
    def __init__(self, value=None, *, label="", choices=None, elem_id=None, **settings):
        self.value, self.label, self.choices, self.elem_id = value, label, choices, elem_id
        self.settings = settings
        self.bound = []
        made.append(self)

    def click(self, **binding):
        self.bound.append(binding)

    change = click

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Accordion(Component):
    pass


class Button(Component):
    pass


Row = Markdown = HTML = Checkbox = Number = Textbox = Dropdown = Accordion
