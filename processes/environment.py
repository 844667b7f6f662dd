"""What every child process finds in its environment, whatever the machine it runs on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIED = ("http", "https")


def child_environment(
    extra: Mapping[str, str] | None = None, direct: Iterable[str] = ()
) -> dict[str, str]:
    """The environment for a child: this process's own, ``extra``, and two rules.

    Loopback and the hosts in ``direct`` are spoken to without a proxy. A Python child reads and
    writes UTF-8, so that its output is decoded with ``encoding="utf-8"`` on every system.
    """
    environment = {**os.environ, **(extra or {})}
    environment.update(PYTHONUTF8="1", PYTHONIOENCODING="utf-8")
    environment.update(_system_proxies(environment))
    for name in ("NO_PROXY", "no_proxy"):
        # Programs differ in which of the two they read, and in which wins.
        listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        hosts = [host.strip() for host in listed.split(",") if host.strip()]
        if hosts != ["*"]:
            hosts += [host for host in (*LOOPBACK, *direct) if host not in hosts]
        environment[name] = ",".join(hosts)
    return environment


def _system_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The proxies of the system's settings (Windows, macOS), as variables.

    Python looks there only where the environment has none of these variables, ``NO_PROXY``
    included, which :func:`child_environment` sets.
    """
    if any(name.lower().endswith("_proxy") for name in environment):
        return {}
    from urllib.request import getproxies

    found = getproxies()
    return {f"{kind}_proxy": found[kind] for kind in PROXIED if kind in found}
