"""The blocks of A²F for training on a CPU, with gradients written out.

PyTorch's own gradients of `a2f.model.a2f.Block` are right and slow on a CPU: each block adds strided slices of the
gradients of all features before it, and casts each feature once per use. Here the features of all blocks lie in one
matrix, [pixels, L·C], and the gradients of all x_proj in another: `proj` (Eq. 6) and its gradients are products with
columns of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FUSED = hasattr(torch.ops.mkldnn, "_convolution_pointwise")


@dataclass(frozen=True, kw_only=True)
class BlockTensors:
    """What L blocks compute with; kernels and biases are in the precision of the step, the others float32.

    Attributes:
        conv1, conv1_bias: [L, hidden, C, 3, 3] and [L, hidden].
        conv2, conv2_bias: [L, C, hidden, 3, 3] and [L, C], λ_res multiplied in.
        lambda_x: [L].
        proj: [L, C, L·C], of which block i, counted from 1, uses the first i·C columns; None without projection.
        lambda_att: [L]; None without projection.
        att: `att.conv1.weight` [L, C, C], its bias [L, C], and those of `att.conv2`; empty without attention.
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
    """x_0 to x_L (Eq. 2).

    Args:
        x: x_0, [N, C, H, W], channels last in memory, in the precision of the step.
        tensors: of the blocks.

    Returns:
        x_L, of the shape and precision of x; gradients flow to x and to all tensors.
    """
    t = tensors
    result: Tensor = _Blocks.apply(  # type: ignore[no-untyped-call]
        x, t.conv1, t.conv1_bias, t.conv2, t.conv2_bias, t.lambda_x, t.proj, t.lambda_att, *t.att
    )
    return result


class _Blocks(torch.autograd.Function):
    """M = N·H·W pixels; [M, C] is an image [N, C, H, W] with channels last."""

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
        ctx.shape = n, c, _, _ = x.shape
        ctx.images, ctx.hidden, ctx.gates = [x], [], []
        # x_0 to x_{L-1}. Zeros, since products with the left columns in bfloat16 read beyond them (oneDNN on AMX, for
        # widths that are no multiple of 32): they multiply what lies there by 0, and NaN times 0 is NaN.
        features = x.new_zeros(x.numel() // c, len(conv1) * c)
        factors = lambda_x.tolist()
        for i in range(len(conv1)):
            image, width = ctx.images[i], (i + 1) * c
            hidden = conv_relu(image, conv1[i], conv1_bias[i])  # [N, hidden, H, W]
            x_i = _rows(F.conv2d(hidden, conv2[i], conv2_bias[i], padding=1))  # λ_res · Eq. 8  [M, C]
            x_i.add_(_rows(image), alpha=factors[i])
            if proj is not None and lambda_att is not None:
                features[:, i * c : width] = _rows(image)
                x_proj = features[:, :width] @ proj[i, :, :width].T  # Eq. 6  [M, C]
                gates = _Gates(x_proj.view(n, -1, c), lambda_att[i], [tensor[i] for tensor in att])
                x_i.view(n, -1, c).addcmul_(gates.x_proj, gates.factor)  # Eq. 9
                ctx.gates.append(gates)
            ctx.hidden.append(hidden)
            ctx.images.append(_image(x_i, ctx.shape))
        ctx.features, ctx.factors = features, factors
        ctx.save_for_backward(conv1, conv2, proj, *att)
        result: Tensor = ctx.images.pop()
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        conv1, conv2, proj, *att = ctx.saved_tensors
        n, c, _, _ = ctx.shape
        g_conv1, g_conv1_bias = torch.empty_like(conv1), conv1.new_empty(conv1.shape[:2])
        g_conv2, g_conv2_bias = torch.empty_like(conv2), conv2.new_empty(conv2.shape[:2])
        g_lambda_x = torch.empty(len(conv1))
        g_lambda_att, *g_att = [torch.empty(len(conv1)), *(torch.empty_like(tensor) for tensor in att)]
        g_proj = torch.zeros_like(ctx.features)  # of each block's x_proj; zeros as above
        g_i = _rows(grad).contiguous()  # [M, C]
        for i in reversed(range(len(conv1))):
            image, hidden, g_image = ctx.images[i], ctx.hidden.pop(), _image(g_i, ctx.shape)
            g_hidden, g_conv2[i], g_conv2_bias[i] = _conv_backward(g_image, hidden, conv2[i])
            torch.ops.aten.threshold_backward.grad_input(g_hidden, hidden, 0, grad_input=g_hidden)  # of ReLU
            g_x, g_conv1[i], g_conv1_bias[i] = _conv_backward(g_hidden, image, conv1[i])
            g_lambda_x[i] = (g_i * _rows(image)).sum(dtype=torch.float32)
            before = _rows(g_x).add_(g_i, alpha=ctx.factors[i])
            if proj is not None:
                g_proj[:, i * c : (i + 1) * c], *small = ctx.gates[i].backward(g_i.view(n, -1, c))
                for target, value in zip((g_lambda_att, *g_att), small, strict=True):
                    target[i] = value
                # x_i goes into the projections of this block and of all behind it
                before.addmm_(g_proj[:, i * c :], proj[i:, :, i * c : (i + 1) * c].reshape(-1, c))
            g_i = before
        first = (_image(g_i, ctx.shape), g_conv1, g_conv1_bias, g_conv2, g_conv2_bias, g_lambda_x)
        if proj is None:
            return *first, None, None
        return *first, _lower(g_proj.T @ ctx.features, c), g_lambda_att, *g_att


class _Gates:
    """λ_att times the gates of one block (Eq. 7), small enough for PyTorch's own gradients.

    Args:
        x_proj: [N, H·W, C].
        lambda_att: one number.
        att: kernels and biases of `att`; empty for none.

    Attributes:
        factor: [N, 1, C], or [1, 1, 1] without `att`.
    """

    def __init__(self, x_proj: Tensor, lambda_att: Tensor, att: Sequence[Tensor]) -> None:
        self.x_proj = x_proj
        with torch.enable_grad():
            self.leaves = [tensor.detach().requires_grad_() for tensor in (lambda_att, *att)]
            self.graph, *parts = self.leaves
            if att:
                pooled = x_proj.mean(1, dtype=torch.float32).requires_grad_()  # [N, C]
                self.leaves.append(pooled)
                hidden = F.relu(F.linear(pooled, parts[0], parts[1]))
                self.graph = self.graph * torch.sigmoid(F.linear(hidden, parts[2], parts[3]))  # [N, C]
        self.factor = self.graph.detach().to(x_proj.dtype).view(-1, 1, self.graph.shape[-1] if att else 1)

    def backward(self, g: Tensor) -> list[Tensor]:
        """The gradients of x_proj [M, C], of λ_att, and of each tensor of `att`, from that of the sum [N, H·W, C]."""
        g_factor = (g * self.x_proj).sum(1, dtype=torch.float32)  # [N, C]
        g_x_proj = g * self.factor
        if len(self.leaves) == 1:
            return [g_x_proj.flatten(0, 1), g_factor.sum()]
        *small, g_pooled = torch.autograd.grad(self.graph, self.leaves, g_factor)
        g_x_proj += (g_pooled / g.shape[1]).to(g.dtype)[:, None]
        return [g_x_proj.flatten(0, 1), *small]


def conv_relu(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution with padding 1, and ReLU, without gradients; one operation where PyTorch has it."""
    if FUSED:
        one = [1, 1]
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(x, kernel, bias, one, one, one, 1, "relu", [], "")
        return result
    return F.relu(F.conv2d(x, kernel, bias, padding=1))


def _lower(products: Tensor, c: int) -> Tensor:
    """The gradient of `proj` [L, C, L·C]: block i, counted from 0, has i + 1 features before it."""
    blocks = len(products) // c
    used = torch.tril(torch.ones(blocks, blocks, dtype=torch.bool)).repeat_interleave(c, dim=1)  # [L, L·C]
    return products.view(blocks, c, -1) * used[:, None]


def _conv_backward(grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input, the kernel and the bias of a 3x3 convolution with padding 1."""
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, kernel, [len(kernel)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, True]
    )
    return result


def _rows(image: Tensor) -> Tensor:
    """[N, C, H, W] with channels last -> [N·H·W, C], the same memory."""
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def _image(rows: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """[N·H·W, C] -> [N, C, H, W] with channels last, the same memory."""
    n, c, h, w = shape
    return rows.view(n, h, w, c).permute(0, 3, 1, 2)
