"""Operators of our own: what they give, for torch.compile, and derivatives, for autograd and `torch.func`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten


def is_transformed() -> bool:
    """Whether this runs within a transform of `torch.func`, such as grad, and not while it is compiled."""
    if torch.compiler.is_compiling():
        return False
    stack = torch._C._functorch.peek_interpreter_stack()  # type: ignore[reportAttributeAccessIssue]
    return stack is not None


def gives_like(operator: Any, *names: str) -> None:
    """Says what an operator (`torch.library.custom_op`) gives, for torch.compile, which does not run it.

    It is a tensor for each of these inputs, contiguous, of the input's shape, type and device.
    """
    known = [argument.name for argument in operator._opoverload._schema.arguments]
    places = [known.index(name) for name in names]

    def outputs(*inputs: Any) -> Tensor | tuple[Tensor, ...]:
        found = [inputs[place].new_empty(inputs[place].shape) for place in places]
        return tuple(found) if len(found) > 1 else found[0]

    operator.register_fake(outputs)


def differentiable(
    operator: Any, backward: Callable[..., Any], save: Callable[[Any, tuple[Any, ...], Any], None]
) -> Callable[..., Any]:
    """An operator (`torch.library.custom_op`) with its derivative.

    save(ctx, inputs, output) keeps what backward(ctx, *gradients) needs, which gives a gradient for each
    input: of a list, a list. What torch.library registers serves autograd and torch.compile; the transforms
    of `torch.func` want a `torch.autograd.Function`, which is made of the same two.
    """
    operator.register_autograd(backward, setup_context=save)

    class Transformed(torch.autograd.Function):
        @staticmethod
        def forward(given: _Given, *tensors: Tensor) -> tuple[Tensor, ...] | Tensor:
            output = operator(*given.inputs(tensors))
            return tuple(output) if isinstance(output, list) else output

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            given, *tensors = inputs
            ctx.given = given
            save(ctx, given.inputs(tensors), output)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
            as_list = ctx.given.gives_list
            found = backward(ctx, list(gradients)) if as_list else backward(ctx, *gradients)
            return None, *ctx.given.gradients(found)

    def call(*inputs: Any) -> Any:
        if not is_transformed():
            return operator(*inputs)
        leaves, layout = tree_flatten(inputs)
        is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        rest = [None if known else leaf for leaf, known in zip(leaves, is_tensor, strict=True)]
        gives_list = "Tensor[]" in str(operator._opoverload._schema).split("->")[1]
        given = _Given(layout, is_tensor, rest, gives_list)
        output = Transformed.apply(given, *(leaf for leaf in leaves if isinstance(leaf, Tensor)))
        return list(output) if gives_list else output  # type: ignore[arg-type]

    return call


class _Given(NamedTuple):
    """How the inputs of a call are made of its tensors and of the rest of them."""

    layout: TreeSpec
    is_tensor: Sequence[bool]
    rest: Sequence[Any]
    gives_list: bool

    def inputs(self, tensors: Sequence[Tensor]) -> tuple[Any, ...]:
        taken = iter(tensors)
        pairs = zip(self.is_tensor, self.rest, strict=True)
        return tree_unflatten([next(taken) if known else leaf for known, leaf in pairs], self.layout)

    def gradients(self, found: Any) -> list[Tensor | None]:
        """The gradients of the tensors, of those that `backward` gives for each input."""
        found = found if isinstance(found, tuple) else (found,)
        flat: list[Tensor | None] = []
        for child, gradient in zip(self.layout.children(), found, strict=True):
            flat += [gradient] * child.num_leaves if gradient is None else tree_flatten(gradient)[0]
        return [gradient for gradient, known in zip(flat, self.is_tensor, strict=True) if known]
