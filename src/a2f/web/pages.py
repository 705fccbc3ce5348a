"""Pages: the files of `page/`, and the documentation of the interface, made of its OpenAPI document."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from a2f.web.problems import KINDS

TYPES = {
    ".avif": "image/avif",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}  # not those of the system, which differ
MAX_VALUES = 8  # of a member that are listed


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of the page.

    Attributes:
        content: its bytes.
        media_type: for the header Content-Type.
        etag: changes with the content.
        cache: for the header Cache-Control.
    """

    content: bytes
    media_type: str
    etag: str
    cache: str


def page_files() -> dict[str, File]:
    """Path on the server -> file, read once: no path of a client is ever opened.

    What lies in `assets/` has a name that changes with its content and may be kept for ever.
    """
    folder = Path(__file__).parent / "page"
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            name = path.relative_to(folder).as_posix()
            for_ever = name.startswith("assets/")
            files[f"/{name}"] = _file(path.read_bytes(), TYPES[path.suffix], for_ever=for_ever)
    if "/index.html" in files:
        files["/"] = files["/index.html"]
    return files


def documentation(document: dict[str, Any]) -> dict[str, File]:
    """`/docs`, its style, and a page for each kind of problem."""
    style = (Path(__file__).parent / "docs.css").read_bytes()
    files = {
        "/docs": _html("a2f: the HTTP interface", _body(document)),
        "/docs/style.css": _file(style, TYPES[".css"]),
    }
    for kind in KINDS.values():
        text = f"<h1>{escape(kind.title)}</h1><p>HTTP status {kind.status}.</p><p>{_text(kind.remedy)}</p>"
        files[f"/problems/{kind.name}"] = _html(kind.title, text)
    return files


def _file(content: bytes, media_type: str, *, for_ever: bool = False) -> File:
    cache = "public, max-age=31536000, immutable" if for_ever else "no-cache"
    return File(
        content=content, media_type=media_type, etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"', cache=cache
    )


def _html(title: str, body: str) -> File:
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="/icon.svg" type="image/svg+xml"><link rel="stylesheet" href="/docs/style.css"></head>'
        '<body><header><a class="home" href="/">a2f</a><a href="/">Enlarge pictures</a>'
        f'<a href="/docs">HTTP interface</a></header><main>{body}</main></body></html>\n'
    )
    return _file(page.encode(), TYPES[".html"])


def _text(text: str) -> str:
    """Plain text with parts between backticks as HTML."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


EXAMPLE = "curl --fail-with-body --data-binary @photo.jpg 'SERVER/v1/upscale?scale=2' -o large.jpg"


def _body(document: dict[str, Any]) -> str:
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    ]
    links = [(o["operationId"], f"{method.upper()} {path}") for path, method, o in operations]
    contents = "".join(
        f'<li><a href="#{name}"><code>{escape(text)}</code></a></li>'
        for name, text in [*links, ("answers", "Answers in JSON"), ("problems", "Problems")]
    )
    parts = [
        f"<h1>HTTP interface <small>a2f {escape(info['version'])}</small></h1><p>{_text(info['description'])}</p>",
        f"<pre><code>{escape(EXAMPLE)}</code></pre>",
        "<p><code>SERVER</code> is the address of this page without <code>/docs</code>, such as "
        "<code>http://127.0.0.1:8000</code>. <code>docs/serve.md</code> of the project has clients in Python, "
        'JavaScript and for the shell. Programs read <a href="/openapi.json">openapi.json</a>.</p>',
        f'<nav aria-label="Addresses"><ul>{contents}</ul></nav>',
    ]
    parts += [_operation(document, path, method, operation) for path, method, operation in operations]
    answers = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    parts.append(f'<section id="answers"><h2>Answers in JSON</h2>{answers}</section>')
    rows = [
        f'<td><a href="/problems/{kind.name}">{kind.name}</a></td><td>{kind.status}</td><td>{escape(kind.title)}</td>'
        f"<td>{_text(kind.remedy)}</td>"
        for kind in KINDS.values()
    ]
    table = _table(["Type", "Status", "What", "What to do"], rows)
    told = (
        "<p>Errors are <code>application/problem+json</code>. The types stay the same; the details are for people. "
        "<code>options</code> and <code>loses</code> are for programs.</p>"
    )
    return "".join([*parts, f'<section id="problems"><h2>Problems</h2>{told}{table}</section>'])


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f'<section id="{operation["operationId"]}"><h2><code>{method.upper()} {escape(path)}</code></h2>',
        f"<p>{_text(operation['summary'])}.</p>",
    ]
    if "description" in operation:
        parts.append(f"<p>{_text(operation['description'])}</p>")
    if "requestBody" in operation:
        kinds = " or ".join(f"<code>{escape(kind)}</code>" for kind in operation["requestBody"]["content"])
        parts.append(f"<p>Body: {kinds}; the file in the field <code>image</code> of a form.</p>")
    rows = [
        f"<td><code>{escape(p['name'])}</code></td><td class='values'>{escape(_allowed(p['schema']))}</td>"
        f"<td>{_text(p['description'])}</td>"
        for p in operation.get("parameters", [])
    ]
    parts.append(_table(["Option", "Values", "Meaning"], rows) if rows else "")
    answers = []
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            answer = document["components"]["responses"][status]
        types = ", ".join(answer.get("content", {}))
        answers.append(
            f"<td>{status}</td><td>{_text(answer['description'])}</td><td class='values'>{escape(types)}</td>"
        )
    return "".join([*parts, _table(["Status", "Meaning", "Type"], answers), "</section>"])


def _schema(name: str, schema: dict[str, Any]) -> str:
    """The members of an object, and of the objects in it."""
    rows = []
    for member, given in _members(schema):
        meaning = _text(given.get("description", ""))
        rows.append(f"<td><code>{member}</code></td><td class='values'>{_kind(given)}</td><td>{meaning}</td>")
    return f"<h3>{name}</h3>{_table(['Member', 'Type', 'Meaning'], rows)}"


def _members(schema: dict[str, Any], before: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, given in schema["properties"].items():
        yield before + name, given
        if "properties" in given:
            yield from _members(given, f"{before}{name}.")
        elif "properties" in given.get("items", {}):
            yield from _members(given["items"], f"{before}{name}[].")


def _kind(schema: dict[str, Any]) -> str:
    """The type of a JSON value, or its values: "integer", "list of string", "Problem or null", "2, 3, 4"."""
    if 0 < len(schema.get("enum", ())) <= MAX_VALUES:
        return ", ".join(map(str, schema["enum"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "oneOf" in schema:
        return " or ".join(map(_kind, schema["oneOf"]))
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    return " or ".join(schema["type"]) if isinstance(schema["type"], list) else str(schema["type"])


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        told = ", ".join(map(str, schema["enum"]))
    elif schema["type"] == "integer":
        told = f"{schema['minimum']} to {schema['maximum']}"
    elif schema["type"] == "boolean":
        told = "true, false"
    else:
        told = f"as {schema['example']}"
    return f"{told}; default {str(schema['default']).lower()}" if "default" in schema else told


def _table(head: list[str], rows: list[str]) -> str:
    titles = "".join(f"<th>{title}</th>" for title in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
