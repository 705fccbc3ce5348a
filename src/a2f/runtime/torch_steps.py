"""The steps of a network on PyTorch, for images that run in tiles on any of its devices."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from a2f.errors import MemoryLimitError
from a2f.export.builder import ALL_SIDES, Sides
from a2f.export.fold import Conv, Folded, FoldedBlock
from a2f.export.steps import BLOCK_HALO_PX, middle_of
from a2f.runtime.tiled import Array, Step, Steps

Layer = Callable[[Tensor], Tensor]


class TorchSteps(Steps):
    """What `a2f.export.steps` draws for the other engines.

    Args:
        net: folded.
        device: where the steps run; what they read and write is in the memory of the CPU.
        dtype: of their computation.
    """

    def __init__(self, net: Folded, *, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(net)
        self._device, self._dtype = device, dtype
        self._mean = self._here(net.mean)

    def make(self, kind: str, number: int, sides: Sides) -> Step:
        """As `Steps`."""
        make = {"head": self._head, "exchange": self._exchange, "tail": self._tail}
        run = self._block(number, sides) if kind == "block" else make[kind](sides)

        def step(inputs: Mapping[str, Array]) -> dict[str, Array]:
            try:
                with torch.inference_mode():
                    outputs = run({name: self._here(x) for name, x in inputs.items()})
                    return {name: y.float().cpu().contiguous().numpy() for name, y in outputs.items()}
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise MemoryLimitError(f"no memory on {self._device} for a tile: choose a smaller --tile") from error

        return step

    def _head(self, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        head = self._layer(self.net.head, sides)
        return lambda given: {"x": head(given["lr"] - self._mean)}

    def _block(self, number: int, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        net, block = self.net, self.net.blocks[number - 1]
        conv1, conv2 = self._layer(block.conv1, sides), self._layer(block.conv2, sides)
        auxiliary = self._auxiliary(block, number) if block.proj else None
        own = None
        if block.proj and middle_of(net) < number < len(net.blocks):
            own = self._layer(_stacked([later.proj[number] for later in net.blocks[number:]], axis=0))
        c = net.config.channels

        def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
            inside = _inside(given["before"], BLOCK_HALO_PX, sides)
            x = conv2(F.relu(conv1(given["before"]))) + block.lambda_x * inside
            if auxiliary is not None:
                x = x + given["gate"] * auxiliary(inside, given)
            return {"x": x} if own is None else {"x": x, "later": own(x) + given["sums"][:, c:]}

        return run

    def _auxiliary(self, block: FoldedBlock, number: int) -> Callable[[Tensor, dict[str, Tensor]], Tensor]:
        """p_i (Eq. 6) of what a block is given."""
        c = self.net.config.channels
        if number > middle_of(self.net):
            return lambda inside, given: given["sums"][:, :c]
        last = self._layer(block.proj[-1])
        if number == 1:
            return lambda inside, given: last(inside)
        earlier = self._layer(_stacked(block.proj[:-1], axis=1))
        return lambda inside, given: earlier(given["earlier"]) + last(inside)

    def _exchange(self, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        k = middle_of(self.net)
        rows = [_stacked(block.proj[: k + 1], axis=1) for block in self.net.blocks[k:]]
        sums = self._layer(_stacked(rows, axis=0))
        return lambda given: {"sums": sums(given["features"])}

    def _tail(self, sides: Sides) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        tail, skip = self._layer(self.net.tail, sides), self._layer(self.net.skip, sides)
        scale = self.net.config.scale
        return lambda given: {"sr": F.pixel_shuffle(tail(given["before"]) + skip(given["lr"] - self._mean), scale)}

    def _layer(self, conv: Conv, sides: Sides = ALL_SIDES) -> Layer:
        """A convolution that pads with zeros at those sides that are the image's own border."""
        weight = self._here(conv.weight).contiguous(memory_format=torch.channels_last)
        bias = None if conv.bias is None else self._here(conv.bias)
        radius = conv.weight.shape[-1] // 2
        if all(sides) or radius == 0:
            return lambda x: F.conv2d(x, weight, bias, padding=radius)
        top, left, bottom, right = (radius if border else 0 for border in sides)
        return lambda x: F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias)

    def _here(self, x: Array) -> Tensor:
        layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
        return torch.from_numpy(x).to(self._device, self._dtype, memory_format=layout)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch found no memory, on a device or, with an error that has no name of its own, on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def _stacked(convs: Sequence[Conv], *, axis: int) -> Conv:
    """1x1 convolutions without bias as one: over more outputs (axis 0) or inputs (1)."""
    return Conv(weight=np.concatenate([conv.weight for conv in convs], axis=axis))


def _inside(x: Tensor, halo: int, sides: Sides) -> Tensor:
    top, left, bottom, right = (0 if border else halo for border in sides)
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
