"""The OpenAPI document matches the behaviour of the server."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from a2f.web.openapi import document
from a2f.web.problems import KINDS
from a2f.web.settings import Settings

pytestmark = pytest.mark.integration

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
DOCUMENT = document(Settings(memory_bytes=10**10))
OPERATIONS = [
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if method != "parameters"
]


@pytest.fixture(scope="module")
def api(server):
    return schemathesis.openapi.from_url(f"{server.address}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_requests_generated_from_the_document(api, method: str, path: str, mode: GenerationMode) -> None:
    operation = api[path][method]
    if mode.is_negative and not (operation.body or operation.query):
        pytest.skip("nothing to get wrong")

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=10, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def check(case: Case) -> None:
        case.call_and_validate(checks=CHECKS)

    check()


def test_descriptions_list_formats_with_quality_and_offered_modes(monkeypatch) -> None:
    from a2f.imageio import FORMATS
    from a2f.web import options

    monkeypatch.setattr(options, "formats", lambda: tuple(FORMATS))
    told = options.parameters()["quality"]["description"]
    assert "jpeg 92, webp 90, avif 80, heic 80, jxl 90" in told
    assert "lossless for webp, jxl" in told
    for offered in (["float32"], ["float32", "fast"]):
        monkeypatch.setattr(options, "dtypes", lambda offered=offered: offered)
        assert ("fast" in options.parameters()["dtype"]["description"]) == ("fast" in offered)


def test_every_address_is_in_the_document_and_every_problem_has_a_page(client) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "{id}" not in path and "get" in methods:
            assert client.get(path).status_code == 200, path
    assert DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["enum"] == [
        f"/problems/{name}" for name in KINDS
    ]
    for name, kind in KINDS.items():
        assert kind.title in client.get(f"/problems/{name}").text
