"""What the kinds share: how a weight begins, and what is one value for each head.

Every weight takes as many numbers from torch's default generator (the caller seeds it) as it has elements,
whatever its start: so another start of one level leaves those of all others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nestdsl.vocabulary.starts import ALWAYS_TRAINED, LEARNED, OF_THE_LAST, STARTS


@dataclass(frozen=True, slots=True)
class Start:
    """How the weights of a level begin: a word of `STARTS`, and its number (None: the word's default).

    trained: whether the outer levels train the start of a memory; those of "learned" and "scaled" they do
    in any case. draws: False for a memory that stands for others, which takes no random numbers.

    Raises ValueError for an unknown word, or one without the number that it needs.
    """

    word: str = LEARNED
    number: float | None = None
    trained: bool = False
    draws: bool = True

    def __post_init__(self) -> None:
        if self.word not in STARTS:
            raise ValueError(f"unknown init {self.word!r}: write one of {', '.join(STARTS)}")
        spec = STARTS[self.word]
        if spec is not None and self.number is None:
            if not isinstance(spec.default, float):
                raise ValueError(f"init {self.word!r} needs its {spec.name}")
            object.__setattr__(self, "number", spec.default)

    @staticmethod
    def of(init: Start | str) -> Start:
        """A word by itself is a start without a number."""
        return Start(init) if isinstance(init, str) else init

    @property
    def is_trained(self) -> bool:
        return self.trained or self.word in ALWAYS_TRAINED

    def of_first(self) -> Start:
        """For the first of two matrices: the kind's own where the start speaks of the last."""
        return replace(self, word=LEARNED, number=None) if self.word in OF_THE_LAST else self

    def of_last(self) -> Start:
        """For the last matrix of a residual f(z) = z + ...: without it, f is the identity."""
        return replace(self, word="zeros", number=None) if self.word == "identity" else self

    def where_learned_is(self, own: Start) -> Start:
        """The same start where `learned` means `own`, for a module that takes that word otherwise."""
        if self.word == LEARNED:
            return own
        return replace(own, number=_number(own) * _number(self)) if self.word == "scaled" else self


def normal(std: float) -> Start:
    """Normal with this deviation."""
    return Start("normal", std)


def initialize(weight: Tensor, start: Start, own: Start, identity: Tensor | None = None) -> None:
    """Fill a weight in place.

    weight: [..., rows, columns], of which "orthogonal" and "identity" take each matrix by itself; own:
    what "learned" means for the kind. identity: what "identity" means, if not 1 on the diagonal. Raises
    ValueError for an identity that is not square.
    """
    with torch.no_grad():
        match start.word:
            case "learned":
                initialize(weight, own, own)
            case "scaled":
                initialize(weight, own, own)
                weight.mul_(_number(start))
            case "normal":
                nn.init.normal_(weight, std=_number(start))
            case "uniform":
                # The normal distribution function of a normal number is uniform within 0 and 1.
                nn.init.normal_(weight)
                weight.div_(2**0.5).erf_().mul_(_number(start))
            case "orthogonal":
                nn.init.normal_(weight)
                weight.copy_(_orthogonal(weight)).mul_(_number(start))
            case "zeros":
                nn.init.normal_(weight)
                weight.zero_()
            case "identity":
                nn.init.normal_(weight)
                weight.copy_(_identity(weight) if identity is None else identity)


def _number(start: Start) -> float:
    assert start.number is not None
    return start.number


def _identity(weight: Tensor) -> Tensor:
    rows, columns = weight.shape[-2:]
    if rows != columns:
        raise ValueError(f"init 'identity' needs equal sizes, not {rows} and {columns}")
    return torch.eye(rows, dtype=weight.dtype, device=weight.device)


def _orthogonal(weight: Tensor) -> Tensor:
    """The orthogonal factor of normal numbers [..., rows, columns], drawn evenly: its columns, or where they
    are more its rows, have length 1 and are at right angles, as torch.nn.init.orthogonal_ makes them."""
    tall = weight if weight.shape[-2] >= weight.shape[-1] else weight.mT
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q if tall is weight else q.mT


def require_same_size(input_size: int, output_size: int) -> None:
    """Raise ValueError for a kind that keeps the size and is asked for another."""
    if input_size != output_size:
        raise ValueError(f"keeps the size: {input_size} in, {output_size} out")


def require_division(size: int, heads: int) -> None:
    """Raise ValueError unless `heads` equal parts make up `size` features."""
    if heads < 1 or size % heads:
        raise ValueError(f"heads = {heads} does not divide the size {size}")


def per_head(factor: float | Tensor, key: Tensor, heads: int) -> Tensor:
    """A step, retention or momentum for each head and token of key [B, T, size]: [B, T, heads].

    factor: a number, [B, T, heads] or [B, T, 1].
    """
    if not isinstance(factor, Tensor):
        kind = torch.promote_types(key.dtype, torch.float32)
        factor = torch.full((), factor, dtype=kind, device=key.device)
    return factor.expand(*key.shape[:2], heads)
