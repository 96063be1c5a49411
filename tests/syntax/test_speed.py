"""A large program is read in well under a second."""

import time

from tests.syntax.programs import tree


def test_two_thousand_levels():
    levels = "\n".join(
        f"  level l{i} = linear(dim) {{\n    every {2 ** (i % 5)} steps   optimizer adamw(lr = 1e-3)\n  }}"
        for i in range(2000)
    )
    text = f"model big(dim = 64) {{\n{levels}\n}}\n"
    tree(text)
    # Processor time, and several times what it takes (0.3 s), as other work shares the machine.
    started = time.process_time()
    program = tree(text)
    assert time.process_time() - started < 1.5
    assert len(program.declarations[0].body) == 2000
