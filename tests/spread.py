"""How the tests are spread over several cores."""

import re

LONGEST_FIRST = (
    "frontend",
    "browser",
    "comfy_server",
    "journal_server",
    "comfyui",
    "comfyui_meta",
)
"""What takes a test long to have, so that what comes last is short and leaves no core idle."""

ON_THE_PAGE = re.compile(r"tests/browser/[^\[]*\[(classic|nodes2)\b")


def group_of(nodeid):
    """Tests of one group stay on one core: those of a file, and all that look at ComfyUI's page."""
    return "page" if ON_THE_PAGE.match(nodeid) else nodeid.split("::")[0]


def scheduler(config, log):
    """xdist's, for groups; its own ``loadgroup`` needs what pytest 9 no longer has."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return Groups(config, log)


def longest_first(items):
    """Sort tests by what the most demanding of their group takes."""
    ranks = {}
    for item in items:
        needed = [n for n, name in enumerate(LONGEST_FIRST) if name in item.fixturenames]
        rank, group = min(needed, default=len(LONGEST_FIRST)), group_of(item.nodeid)
        ranks[group] = min(ranks.get(group, rank), rank)
    items.sort(key=lambda item: ranks[group_of(item.nodeid)])
