"""Checkpoints with something altered, by somebody who writes the checksums anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nestdsl.training.checkpoint_file import Content, read_file, write_file

Alter = Callable[[dict[str, torch.Tensor], dict[str, Any]], object]


def alter(path: Path, change: Alter) -> None:
    """Changes the tensors and the description of a checkpoint in place; both are the change's to alter."""
    content = read_file(path)
    tensors = {name: tensor.clone() for name, tensor in content.tensors.items()}
    description = dict(content.description)
    change(tensors, description)
    write_file(path, Content(tensors, description))
