"""The OpenAPI document, made of the tables that requests are read by."""

from typing import Any, get_args

import a2f
from a2f.errors import Loss
from a2f.web.options import MEDIA_TYPES, formats, parameters
from a2f.web.problems import KINDS, MEDIA_TYPE
from a2f.web.settings import Settings

Node = dict[str, Any]
INPUT = (400, 401, 403, 406, 408, 413, 415, 421, 422, 429, 503)
ALWAYS = (401, 403, 421)
COUNT: Node = {"type": "integer", "minimum": 0}


def document(settings: Settings) -> Node:
    """The OpenAPI 3.1 document of a server."""
    secured = settings.api_key is not None
    given: Node = {
        "openapi": "3.1.0",
        "info": {
            "title": "a2f",
            "version": a2f.__version__,
            "description": "Enlarges pictures 2, 3 or 4 times, or to an exact size. Results are kept for a short time.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "parameters": {"job": _path_parameter("id", "The `id` that `POST /v1/jobs` answered.")},
            "responses": {str(status): _problem(status) for status in sorted({k.status for k in KINDS.values()})},
        },
    }
    if secured:
        given["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "password": {
                "type": "http",
                "scheme": "basic",
                "description": "Send any user name, and the key as the password.",
            },
        }
        given["security"] = [{"key": []}, {"password": []}]
        for path in ("/healthz", "/readyz"):
            given["paths"][path]["get"]["security"] = []
    return given


def _paths() -> Node:
    picture = {"description": "The enlarged picture.", "headers": _result_headers(), "content": _pictures()}
    job = {"$ref": "#/components/schemas/Job"}
    accepted = {
        "description": "The job is in the queue.",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Where to ask about the job."}},
        "content": _json(job),
    }
    events = {
        "description": "An event `status` at each change, with the job as JSON; the stream ends with the job.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    told = {"description": "The job.", "content": _json(job)}
    of_job = [{"$ref": "#/components/parameters/job"}]
    models = {
        "description": "The models, formats and limits.",
        "content": _json({"$ref": "#/components/schemas/Models"}),
    }
    return {
        "/v1/models": {"get": _operation("models", "List models, formats and limits", {"200": models})},
        "/v1/upscale": {
            "post": _operation("upscale", "Enlarge a picture, and wait for it", {"200": picture}, (*INPUT, 500, 504))
            | _input()
        },
        "/v1/jobs": {
            "post": _operation("submit", "Enlarge a picture in the background", {"202": accepted}, INPUT) | _input()
        },
        "/v1/jobs/{id}": {
            "parameters": of_job,
            "get": _operation("job", "Get the progress of a job", {"200": told}, (404,)),
            "delete": _operation(
                "drop", "Cancel a job, or forget one that has ended", {"204": {"description": "Done."}}, (404,)
            ),
        },
        "/v1/jobs/{id}/events": {
            "parameters": of_job,
            "get": _operation("events", "Follow a job by server-sent events", {"200": events}, (404,)),
        },
        "/v1/jobs/{id}/result": {
            "parameters": of_job,
            "get": _operation("result", "Fetch the enlarged picture", {"200": picture}, (404, 409)),
        },
        **_probes(),
    }


def _probes() -> Node:
    """What watches the server asks for."""
    return {
        "/healthz": {"get": _operation("health", "Check that the server runs", {"200": _plain("The server runs.")})},
        "/readyz": {
            "get": _operation(
                "ready", "Check that the server takes pictures", {"200": _plain("The server takes pictures.")}, (503,)
            ),
        },
        "/metrics": {"get": _operation("metrics", "Get figures for Prometheus", {"200": _plain("The figures.")})},
    }


def _operation(id: str, summary: str, answers: Node, problems: tuple[int, ...] = ()) -> Node:
    failed = {str(s): {"$ref": f"#/components/responses/{s}"} for s in sorted({*problems, *ALWAYS})}
    return {"operationId": id, "summary": summary, "responses": answers | failed}


def _input() -> Node:
    """Options in the query, the picture as the body; or all of it in a form."""
    table = parameters()
    query = [
        {
            "name": name,
            "in": "query",
            "description": schema["description"],
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in table.items()
    ]
    form = {
        "type": "object",
        "properties": {"image": {"type": "string", "contentMediaType": "image/*"}, **table},
        "required": ["image"],
        "additionalProperties": False,
    }
    raw = {"schema": {"type": "string", "contentMediaType": "image/*"}}
    return {
        "description": "Give each option once: in the query, or as a field of a form. Give either `scale` or one of "
        "`width`, `height`, `max_side`, `size`. Without the option `format`, the header `Accept` chooses the format.",
        "parameters": query,
        "requestBody": {"required": True, "content": {"image/*": raw, "multipart/form-data": {"schema": form}}},
    }


def _result_headers() -> Node:
    told = {
        "A2F-Model": ("string", "The model of each pass, separated by commas; none if the picture was only resized."),
        "A2F-Scale": ("integer", "How many times the networks enlarged the picture, over all passes."),
        "A2F-Seconds": ("number", "Seconds that the work took, without the time in the queue."),
        "A2F-Note": ("string", "A note for people, percent-encoded; one header for each note."),
    }
    return {name: {"schema": {"type": kind}, "description": text} for name, (kind, text) in told.items()}


def _pictures() -> Node:
    return {
        media: {"schema": {"type": "string", "contentMediaType": media}}
        for media in map(MEDIA_TYPES.__getitem__, formats())
    }


def _schemas() -> Node:
    return {"Job": _job_schema(), "Problem": _problem_schema(), "Models": _models_schema()}


def _job_schema() -> Node:
    failure = {"oneOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "null"}]}
    job = _object(
        id=_told({"type": "string"}, "The last part of the job's address."),
        status={"type": "string", "enum": ["queued", "running", "done", "failed", "cancelled"]},
        progress=_told({"type": "number", "minimum": 0, "maximum": 1}, "Share of the work that is done."),
        seconds_left=_told({"type": ["number", "null"]}, "An estimate; null as long as there is none."),
        width=_told({"type": "integer", "minimum": 1}, "Width of the result in pixels."),
        height=_told({"type": "integer", "minimum": 1}, "Height of the result in pixels."),
        error=_told(failure, "Why the job failed."),
        result=_told({"type": ["string", "null"]}, "Path of the enlarged picture; null until the job is done."),
        notes=_told(_list({"type": "string"}), "What people should know about the result."),
    )
    job["properties"]["position"] = _told(COUNT, "Place in the queue, from 1; only while the job waits.")
    return job


def _problem_schema() -> Node:
    losses = {"type": "string", "enum": list(get_args(Loss))}
    return _object(
        type=_told({"type": "string", "enum": [f"/problems/{name}" for name in KINDS]}, "The path of its page."),
        title=_told({"type": "string"}, "One line, the same for all problems of this type."),
        status=_told({"type": "integer"}, "The HTTP status."),
        detail=_told({"type": "string"}, "For people; it may change."),
        options=_told(
            _list({"type": "string"}), "Options with which the request would pass, each by itself: `force=true`."
        ),
        loses=_told(_list(losses), "What the format would lose of the picture; only for `/problems/format-loses`."),
    )


def _models_schema() -> Node:
    quality = {"type": "integer", "minimum": 0, "maximum": 100}
    model = _object(
        name=_told({"type": "string"}, "For the option `model`."),
        scale={"type": "integer", "enum": [2, 3, 4]},
        parameters=_told(COUNT, "Number of weights."),
        kind=_told({"type": "string", "enum": ["clean", "robust"]}, "`robust` was trained on compressed pictures."),
        jpeg_below=_told(quality, "`model=auto` takes this model for a JPEG of a lower quality; 0 for none."),
    )
    limits = _object(
        body_bytes=_told(COUNT, "Bytes of a request."),
        pixels=_told(COUNT, "Pixels of a picture; a result may have 16 times as many."),
        queue=_told(COUNT, "Pictures that wait."),
        workers=_told(COUNT, "Pictures that are enlarged at the same time."),
    )
    formats = _told(_list({"type": "string"}), "For the option `format`.")
    return _object(models=_list(model), formats=formats, limits=limits)


def _told(schema: Node, description: str) -> Node:
    return schema | {"description": description}


def _list(items: Node) -> Node:
    return {"type": "array", "items": items}


def _object(**properties: Node) -> Node:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _json(schema: Node) -> Node:
    return {"application/json": {"schema": schema}}


def _plain(description: str) -> Node:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _path_parameter(name: str, description: str) -> Node:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def _problem(status: int) -> Node:
    kinds = [kind for kind in KINDS.values() if kind.status == status]
    headers: Node = {}
    if status in (429, 503):
        headers = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds after which to try again."}}
    return {
        "description": " ".join(f"`{kind.name}`: {kind.title}." for kind in kinds),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
