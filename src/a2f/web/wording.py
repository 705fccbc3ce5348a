"""Messages of a2f in the words of the HTTP interface: clients know no command line and no Python."""

import re

from a2f.web.options import parameters

_BOTH = re.compile(r"--[a-z-]+(?:, ([a-z_]+)=True| \(([a-z_]+)=True\))")  # "--force, force=True"
_OPTION = re.compile(r"--([a-z][a-z-]*)(?: ([a-z0-9]+))?")  # "--strip", "--dtype float32"
_INSTALL = re.compile(r"(?:: | \()pip install '[^']*'\)?")  # clients cannot install anything on a server


def for_clients(text: str) -> str:
    """A message with the options of the command line and of Python as options of a request.

    Args:
        text: of an error or a note.

    Returns:
        The text with ``force=true`` in place of ``--force, force=True``, ``dtype=float32`` in place of
        ``--dtype float32``, and without commands that install something.
    """
    text = _BOTH.sub(lambda match: f"{match[1] or match[2]}=true", text)
    return _OPTION.sub(_as_parameter, _INSTALL.sub("", text))


def _as_parameter(match: re.Match[str]) -> str:
    """An option as a request gives it; unchanged where requests have no such option."""
    name, value = match[1].replace("-", "_"), match[2]
    schema = parameters().get(name)
    if schema is None:
        return match[0]
    if schema["type"] == "boolean":
        return f"{name}=true{f' {value}' if value else ''}"
    if value in schema.get("enum", ()):
        return f"{name}={value}"
    return f"{name}{f' {value}' if value else ''}"
