"""What can go wrong in a command; a message says what, why and what to do."""


class CommandError(Exception):
    """The command was right but could not be carried out: exit code 1."""


class UsageError(Exception):
    """The command asks for something that cannot be: exit code 2."""


class CancelledError(Exception):
    """Somebody interrupted the work on the server: exit code 130, as for Ctrl-C here."""


def told(error: Exception) -> str:
    """The message of an error; that of the operating system without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def named(error: BaseException) -> str:
    """The kind of an error and its message; some cannot say theirs."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001  (whatever its own code raises)
        said = "it cannot say why"
    return f"{type(error).__name__}: {said}"
