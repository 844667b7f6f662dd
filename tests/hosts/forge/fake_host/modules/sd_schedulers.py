from collections import namedtuple

Scheduler = namedtuple("Scheduler", "name label function")
schedulers = [
    Scheduler("automatic", "Automatic", None),
    Scheduler("karras", "Karras", lambda n: None),
    Scheduler("normal", "Normal", lambda n: None),
]
schedulers_map = {**{s.name: s for s in schedulers}, **{s.label: s for s in schedulers}}
