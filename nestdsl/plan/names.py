"""Names of attributes and variables in the built model: readable, valid and never taken."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

# What torch.nn.Module or our own classes mean by these names; a test compares. Names that they meant once
# stay here, so that weights keep the names under which they were saved.
TAKEN = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children
    named_modules named_parameters parameters register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
    blocks body carried carries_state chunk_tokens cycle_tokens detach_state fix_precision go_on graph_kept
    init_state initial level_parameters loss parts plan precision_beside product_precision reset_state run
    state_grows stateful steady_run stream_loss units
    join_states learning_strategy program reset_rows run_by take_rows
    aligned functions next_state nn position self state torch
    """.split()
)


def identifier(name: str) -> str:
    """`h.rms_norm` becomes `h_rms_norm`, `cms[0]` becomes `cms_0`, `in` becomes `in_`."""
    plain = re.sub(r"\W+", "_", name).strip("_")
    if not plain or plain[0].isdigit():
        plain = f"_{plain}"
    return f"{plain}_" if keyword.iskeyword(plain) or plain in TAKEN else plain


class Names:
    """Gives each thing of one body a name of its own."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def new(self, wanted: str) -> str:
        name = base = identifier(wanted)
        number = 2
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name
