"""Signatures of a bundle's content by OpenSSH: ``ssh-keygen -Y``."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from ..processes.children import find_program

NAMESPACE = "wattbench"
TIMEOUT_S = 60.0
KEY = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}")


class SignatureError(ValueError):
    """A signature cannot be made, or does not hold; the message says why."""


def sign(content: bytes, key: Path) -> bytes:
    """A signature of ``content`` by a private key of OpenSSH.

    Raises:
        SignatureError: there is no ``ssh-keygen``, or it cannot use the key.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "content")
        file.write_bytes(content)
        _keygen("-Y", "sign", "-f", str(key.resolve()), "-n", NAMESPACE, str(file))
        return Path(scratch, "content.sig").read_bytes()


def signer_of(content: bytes, signature: bytes, signers: Path | None, identity: str) -> str:
    """The key that has signed ``content``, as ``SHA256:...``.

    With ``signers``, a file of allowed signers as OpenSSH has it, the key must be that of
    ``identity``; without, it is only said which one it was.

    Raises:
        SignatureError: the signature is of something else, or by another key.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "content.sig")
        file.write_bytes(signature)
        given = ["-n", NAMESPACE, "-s", str(file)]
        if signers is None:
            said = _keygen("-Y", "check-novalidate", *given, content=content)
        else:
            allowed = ["-f", str(signers.resolve()), "-I", identity]
            said = _keygen("-Y", "verify", *allowed, *given, content=content)
    found = KEY.search(said)
    return found[0] if found else "a key that ssh-keygen does not name"


def _keygen(*arguments: str, content: bytes = b"") -> str:
    program = find_program("ssh-keygen")
    if program is None:
        raise SignatureError("signatures need ssh-keygen, which OpenSSH brings; it is not here")
    try:
        done = subprocess.run(
            [program, *arguments], input=content, capture_output=True, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SignatureError(f"ssh-keygen did not work: {error}") from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
    if done.returncode != 0:
        raise SignatureError(f"ssh-keygen: {said or 'it failed'}")
    return said
