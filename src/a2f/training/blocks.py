"""The blocks of A²F for training on a CPU or a CUDA GPU, with explicit gradients.

PyTorch's automatic gradients of `a2f.model.a2f.Block` are correct but slow: each block adds strided slices of the
gradients of all earlier features, casts each feature once per use, and reads and writes all pixels for each factor.
Here one matrix per image, [H·W, L·C], holds the features of all blocks, and another holds the gradients of all blocks.
`proj` (Eq. 6), the gates (Eq. 7) and their sum (Eq. 9) are one product with columns of the first matrix. Their backward
pass is one product with columns of the second.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FUSED = hasattr(torch.ops.mkldnn, "_convolution_pointwise")


@dataclass(frozen=True, kw_only=True)
class BlockTensors:
    """The parameters of L blocks. `conv1`, `conv2` and their biases have the precision of the step, the others float32.

    Attributes:
        conv1, conv1_bias: [L, hidden, C, 3, 3] and [L, hidden].
        conv2, conv2_bias: [L, C, hidden, 3, 3] and [L, C], λ_res multiplied in.
        lambda_x: [L].
        proj: [L, C, L·C]; block i, counted from 1, uses the first i·C columns; None without projection.
        lambda_att: [L]; None without projection.
        att: `att.conv1.weight` [L, C, C], `att.conv1.bias` [L, C], then the same for `att.conv2`; empty without
            attention.
    """

    conv1: Tensor
    conv1_bias: Tensor
    conv2: Tensor
    conv2_bias: Tensor
    lambda_x: Tensor
    proj: Tensor | None = None
    lambda_att: Tensor | None = None
    att: tuple[Tensor, ...] = ()


def run_blocks(x: Tensor, tensors: BlockTensors) -> Tensor:
    """Run all blocks: x_0 to x_L (Eq. 2).

    Args:
        x: x_0, [N, C, H, W], channels last in memory, in the precision of the step.
        tensors: the parameters of the blocks.

    Returns:
        x_L, with the shape and precision of x; gradients flow to x and to all tensors.
    """
    t = tensors
    result: Tensor = _Blocks.apply(  # type: ignore[no-untyped-call]
        x, t.conv1, t.conv1_bias, t.conv2, t.conv2_bias, t.lambda_x, t.proj, t.lambda_att, *t.att
    )
    return result


class _Blocks(torch.autograd.Function):
    """All blocks as one operation. [N, H·W, C] is the memory layout of [N, C, H, W] with channels last."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        conv1: Tensor,
        conv1_bias: Tensor,
        conv2: Tensor,
        conv2_bias: Tensor,
        lambda_x: Tensor,
        proj: Tensor | None,
        lambda_att: Tensor | None,
        *att: Tensor,
    ) -> Tensor:
        ctx.shape, ctx.images, ctx.hidden = x.shape, [x], []  # x_0 to x_{L-1}
        ctx.auxiliary = None if proj is None or lambda_att is None else _Auxiliary(x, proj, lambda_att, att)
        # numbers on a CPU; on a GPU they stay there, so that a step can be recorded as a graph
        ctx.factors = lambda_x.tolist() if x.device.type == "cpu" else list(lambda_x.detach())
        for i in range(len(conv1)):
            image = ctx.images[i]
            hidden = conv_relu(image, conv1[i], conv1_bias[i])  # [N, hidden, H, W]
            x_i = _pixels(F.conv2d(hidden, conv2[i], conv2_bias[i], padding=1))  # λ_res · Eq. 8  [N, H·W, C]
            x_i = _plus_scaled(x_i, _pixels(image), ctx.factors[i])
            if ctx.auxiliary is not None:
                ctx.auxiliary.add(i, _pixels(image), to=x_i)  # Eq. 9
            ctx.hidden.append(hidden)
            ctx.images.append(_image(x_i, ctx.shape))
        ctx.save_for_backward(conv1, conv2)
        result: Tensor = ctx.images.pop()
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        conv1, conv2 = ctx.saved_tensors
        g_conv1, g_conv1_bias = torch.empty_like(conv1), conv1.new_empty(conv1.shape[:2])
        g_conv2, g_conv2_bias = torch.empty_like(conv2), conv2.new_empty(conv2.shape[:2])
        g_lambda_x = torch.empty(len(conv1), device=grad.device)
        g_i = _pixels(grad).contiguous()  # [N, H·W, C]
        for i in reversed(range(len(conv1))):
            image, hidden, g_image = ctx.images[i], ctx.hidden.pop(), _image(g_i, ctx.shape)
            g_hidden, g_conv2[i], g_conv2_bias[i] = _conv_backward(g_image, hidden, conv2[i])
            _relu_backward(g_hidden, hidden)
            g_x, g_conv1[i], g_conv1_bias[i] = _conv_backward(g_hidden, image, conv1[i])
            before = _plus_scaled(_pixels(g_x), g_i, ctx.factors[i])
            if ctx.auxiliary is None:
                g_lambda_x[i] = (g_i * _pixels(image)).sum(dtype=torch.float32)
            else:
                g_lambda_x[i] = ctx.auxiliary.backward(i, g_i, to=before)
            g_i = before
        first = (_image(g_i, ctx.shape), g_conv1, g_conv1_bias, g_conv2, g_conv2_bias, g_lambda_x)
        return *first, *((None, None) if ctx.auxiliary is None else ctx.auxiliary.gradients())


class _Auxiliary:
    """λ_att · att(x_proj) · x_proj (Eq. 6, 7 and 9) of all blocks, without computing x_proj.

    The gates of an image and λ_att are multiplied into the kernel of `proj`. The gates need the mean of x_proj over the
    pixels, which is `proj` of the means of the features.

    Args:
        x: x_0.
        proj, lambda_att, att: fields of `BlockTensors`.
    """

    def __init__(self, x: Tensor, proj: Tensor, lambda_att: Tensor, att: tuple[Tensor, ...]) -> None:
        self.proj, self.lambda_att, self.att = proj, lambda_att, att
        self.blocks, self.c, self.n = len(proj), x.shape[1], len(x)
        self.pixels, self.dtype = x.shape[2] * x.shape[3], x.dtype
        self.features = self._columns(self.blocks)  # x_0 to x_{L-1}
        self.means = proj.new_zeros(self.n, self.blocks * self.c)  # means of the features
        # λ_att · gates · proj for each image: first a slot for the part that is equal for all pixels, then the last
        # block first
        self.kernels = x.new_zeros(self.n, self.blocks + 1, self.c, self.blocks * self.c)
        small = (self.blocks, self.n, self.c)
        self.pooled, self.att_hidden, self.gates = (proj.new_empty(small) for _ in range(3))
        self.g_factor, self.g_gates, self.g_att_hidden = (proj.new_empty(small) for _ in range(3))

    def _columns(self, count: int) -> Tensor:
        """Zeros of [N, H·W, count · C], with the columns padded to a multiple of 32.

        The padding must be zero: for widths that are not a multiple of 32, products in bfloat16 (oneDNN on AMX) read
        beyond the used columns and multiply the values there by 0, and NaN times 0 is NaN.
        """
        width = -(-count * self.c // 32) * 32
        return torch.zeros(self.n, self.pixels, width, dtype=self.dtype, device=self.proj.device)

    def add(self, i: int, image: Tensor, *, to: Tensor) -> None:
        """Add the auxiliary features of block i, counted from 0.

        Args:
            i: the block.
            image: input x_i of the block, [N, H·W, C].
            to: the sum of Eq. 9, of the same shape; changed in place.
        """
        width = (i + 1) * self.c
        self.features[..., i * self.c : width] = image
        self.means[:, i * self.c : width] = image.mean(1, dtype=torch.float32)
        factor = self.lambda_att[i].expand(self.n, self.c)
        if self.att:
            w1, b1, w2, b2 = (tensor[i] for tensor in self.att)
            self.pooled[i] = self.means[:, :width] @ self.proj[i, :, :width].T
            self.att_hidden[i] = F.relu(F.linear(self.pooled[i], w1, b1))
            self.gates[i] = torch.sigmoid(F.linear(self.att_hidden[i], w2, b2))  # Eq. 7
            factor = factor * self.gates[i]
        kernel = self.kernels[:, self.blocks - i]  # [N, C, L·C]
        kernel.copy_(self.proj[i] * factor[..., None])
        to.baddbmm_(self.features[..., :width], kernel[..., :width].mT)

    def backward(self, i: int, g: Tensor, *, to: Tensor) -> Tensor:
        """Compute the gradients of block i; call it for the last block first.

        Args:
            i: the block.
            g: gradient of the output of the block, [N, H·W, C].
            to: gradient of the input of the block, of the same shape; the gradients through the auxiliary features of
                this block and of all later blocks are added in place.

        Returns:
            The gradient of λ_x, a scalar.
        """
        c, width = self.c, (i + 1) * self.c
        if i == self.blocks - 1:
            self.g_columns = self._columns(self.blocks + 1)
            self.g_columns[..., 0] = 1
            self.g_proj, self.g_means = torch.zeros_like(self.proj), torch.zeros_like(self.means)
        proj, products = self.proj[i, :, :width], torch.bmm(g.mT, self.features[..., :width]).float()  # [N, C, width]
        self.g_factor[i] = (products * proj).sum(2)
        self.g_proj[i, :, :width] = (products * self._factor(i)).sum(0)
        if self.att:
            g_pooled = self._gates_backward(i)  # [N, C]
            self.g_proj[i, :, :width].addmm_(g_pooled.T, self.means[:, :width])
            self.g_means[:, :width].addmm_(g_pooled, proj)
            self.kernels[:, 0, 0] = self.g_means / self.pixels
        behind = self.blocks - i
        self.g_columns[..., behind * c : (behind + 1) * c] = g
        kernel = self.kernels[:, : behind + 1, :, i * c : width].reshape(self.n, -1, c)
        to.baddbmm_(self.g_columns[..., : (behind + 1) * c], kernel)
        return products[..., i * c :].diagonal(dim1=1, dim2=2).sum()

    def _factor(self, i: int) -> Tensor:
        """λ_att times the gates of block i, [N, C, 1], or [1] without `att`."""
        return self.lambda_att[i] * self.gates[i, :, :, None] if self.att else self.lambda_att[i, None]

    def _gates_backward(self, i: int) -> Tensor:
        """The gradient of the mean of x_proj of block i, [N, C]."""
        gates = self.gates[i]
        self.g_gates[i] = self.g_factor[i] * self.lambda_att[i] * gates * (1 - gates)  # before the sigmoid
        self.g_att_hidden[i] = (self.g_gates[i] @ self.att[2][i]) * (self.att_hidden[i] > 0)  # before ReLU
        return self.g_att_hidden[i] @ self.att[0][i]

    def gradients(self) -> tuple[Tensor, ...]:
        """The gradients of `proj`, `lambda_att` and `att`."""
        if not self.att:
            return self.g_proj, self.g_factor.sum((1, 2))
        return (
            self.g_proj,
            (self.g_factor * self.gates).sum((1, 2)),
            self.g_att_hidden.mT @ self.pooled,
            self.g_att_hidden.sum(1),
            self.g_gates.mT @ self.att_hidden,
            self.g_gates.sum(1),
        )


def conv_relu(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution with padding 1 and ReLU, without gradients; one fused operation if PyTorch has it."""
    one = [1, 1]
    if x.device.type == "cuda" and x.dtype != torch.float32:
        on_cuda: Tensor = torch.cudnn_convolution_relu(x, kernel, bias, one, one, one, 1)
        return on_cuda
    if FUSED and x.device.type == "cpu":
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(x, kernel, bias, one, one, one, 1, "relu", [], "")
        return result
    return F.relu(F.conv2d(x, kernel, bias, padding=1))


def _plus_scaled(x: Tensor, other: Tensor, factor: float | Tensor) -> Tensor:
    """Compute x + factor · other in float32 and round once. A CPU changes x in place."""
    if isinstance(factor, float):
        return x.add_(other, alpha=factor)
    result: Tensor = _compiled(_rounded_once)(x, other, factor)
    return result


def _rounded_once(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (x.float() + factor * other.float()).to(x.dtype)


@functools.cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function as one GPU kernel. torch.compile is slow to import, so it waits for the first use."""
    return torch.compile(function)


def _relu_backward(grad: Tensor, hidden: Tensor) -> None:
    """Set the gradient to 0, in place, where the output of ReLU is 0.

    The bits are compared as integers: a float is positive if and only if its bits are a positive integer. On bfloat16
    PyTorch on a CPU is several times slower, because it converts to float32 and back.
    """
    integer = torch.int16 if hidden.dtype == torch.bfloat16 else torch.int32
    bits = grad.view(integer)
    torch.ops.aten.threshold_backward.grad_input(bits, hidden.view(integer), 0, grad_input=bits)


def _conv_backward(grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input, the kernel and the bias of a 3x3 convolution with padding 1."""
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, kernel, [len(kernel)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, True]
    )
    return result


def _pixels(image: Tensor) -> Tensor:
    """[N, C, H, W] with channels last -> [N, H·W, C], the same memory."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def _image(pixels: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """[N, H·W, C] -> [N, C, H, W] with channels last, the same memory."""
    n, c, h, w = shape
    return pixels.view(n, h, w, c).permute(0, 3, 1, 2)
