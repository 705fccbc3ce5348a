"""The networks of the benchmark come from the package and are deterministic."""

import json

import pytest
import torch
from benchmarks.peers import CHECKPOINTS, KEPT, PAGE, PEERS_AT_X4, Score, costs, quality

from a2f.peers import PEERS


@pytest.mark.integration
@pytest.mark.parametrize("peer", PEERS_AT_X4, ids=lambda peer: peer.name)
def test_outputs_are_four_times_as_large_and_deterministic(peer) -> None:
    network, x = peer.build(), torch.rand(2, 3, 17, 22)
    assert not network.training
    with torch.inference_mode():
        sr = network(x)
        torch.testing.assert_close(peer.build()(x), sr)
    assert sr.shape == (2, 3, 68, 88)


def test_building_does_not_change_the_seed() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    PEERS_AT_X4[0].build()
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.integration
def test_page_equals_the_output_of_the_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    kept = [Score(**score) for score in json.loads(KEPT.read_text(encoding="utf-8"))]
    assert {(s.network, s.scale) for s in kept} == {(n, s) for n, (_, scales) in CHECKPOINTS.items() for s in scales}
    assert costs() in text
    assert quality(kept) in text
    assert all(f"`{name}`" in text for name in ("carn-m", "idn"))
    assert all(f"| `{name}` x{peer.scales[0]} |" in text for name, peer in PEERS.items())
