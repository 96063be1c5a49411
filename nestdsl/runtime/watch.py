"""Watches the modules of a model: whether one was replaced, and whether anything hangs on their calls."""

from __future__ import annotations

from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)


class Watch:
    """Looks at a model before every pass: so it remembers where to look."""

    def __init__(self, model: nn.Module) -> None:
        self._model = [model]  # in a list: a module that has a watch is none of its parts
        self.changes = 0
        """How often modules were replaced."""
        self._look_around()

    def _look_around(self) -> None:
        modules = list(self._model[0].modules())
        self._parts = [(one._modules, list(one._modules.values())) for one in modules if one._modules]
        self._hooks = [module.__dict__[name] for module in modules for name in _HOOKS]

    def look(self) -> None:
        """Notes whether any module was replaced."""
        if any(list(parts.values()) != before for parts, before in self._parts):
            self.changes += 1
            self._look_around()

    def has_hooks(self) -> bool:
        """Whether there are any, on modules of the model or on all modules: what is compiled would not call
        them."""
        return any(self._hooks) or any(getattr(nn.modules.module, name) for name in _GLOBAL_HOOKS)
