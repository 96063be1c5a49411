"""Programs that repeat each construct of the language n times, or nest it n deep.

`PROGRAMS` maps a name to what makes such a program. What a check does for it must grow no faster than n.
"""

from __future__ import annotations

from collections.abc import Callable

Make = Callable[[int], str]


def each(pattern: str, between: str = "\n") -> Make:
    """The pattern for each number: `{i}` is that, and `{j}` the next."""
    return lambda n: between.join(pattern.format(i=i, j=i + 1) for i in range(n))


def backwards(pattern: str) -> Make:
    return lambda n: "\n".join(pattern.format(i=i, j=i + 1) for i in reversed(range(n)))


def last(pattern: str) -> Make:
    return lambda n: pattern.format(n=n)


def times(piece: str, before: str = "", after: str = "") -> Make:
    return lambda n: before + piece * n + after


def nested(before: str, inside: str, after: str) -> Make:
    return lambda n: before * n + inside + after * n


def lines(*parts: Make | str) -> Make:
    return lambda n: "\n".join(part if isinstance(part, str) else part(n) for part in parts)


def model(*body: Make | str) -> Make:
    return lines("model m {", "input vectors(8)", *body, "}")


def beside(*body: Make | str) -> Make:
    """A model that has this beside what it trains."""
    return model(*body, "flow out = in -> linear")


def through(*body: Make | str) -> Make:
    """A model that reads the levels l0 to l(n - 1) in order."""
    return model(*body, lambda n: "flow out = in" + each(" -> l{i}", "")(n))


def flow(expression: Make) -> Make:
    return model(lambda n: f"flow out = {expression(n)}")


def optimizer(update: str, *body: Make | str, parameters: Make | str = "lr = 0.1") -> Make:
    """An optimizer `o` that drives a model: `{n}` stands in its update for n."""
    given = (lambda n: parameters) if isinstance(parameters, str) else parameters
    head = lines(lambda n: f"optimizer o({given(n)}) {{", *body)
    return lines(head, lambda n: f"flow update = {update.format(n=n)}\n}}", DRIVEN)


DRIVEN = "model m {\n input vectors(8)\n flow out = in -> linear\n train { objective mse  optimizer o }\n}"
ARGUMENT = "block b {\n level x = f("
CLAUSES = "block b {\n level x = y { "
UNNAMED_START = "{{ every 64 tokens  optimizer gd(step = 0.1)  init from l{j} }}"

OF_TEXT: dict[str, Make] = {
    "braces in an argument": flow(lambda n: f"in -> mlp(expand = {'{' * n}2{'}' * n})"),
    "closing braces in an argument": flow(times("}", "in -> mlp(expand = ", ")")),
    "closing braces, then a name": flow(times("}", "in -> mlp(expand = ", " x)")),
    "closing braces apart": flow(times("} \t", "in -> mlp(expand = ", " x)")),
    "braces on lines of their own": times("{\n", ARGUMENT),
    "braces after a long line": lambda n: CLAUSES + "frozen " * n + "x " + "{\n" * n,
    "blank lines in a bracket": times("\n", ARGUMENT),
    "comments in a bracket": times("# x\n", ARGUMENT),
    "comments of another language": times("// x\n", "block b {\n flow x = in +\n"),
    "comments behind a long statement": lambda n: (
        "block b {\n flow x = in" + " + in" * n + "\n" + " + // x\n in" * 90 + "}"
    ),
    "optimizers with long names": lambda n: ARGUMENT + "\n" + f"optimizer {'a' * 10 * n}\n" * 3,
    "optimizers on one line": times("optimizer a ", CLAUSES),
    "unterminated strings": times('flow "\n'),
    "one unterminated string": times("a", 'use "'),
    "unfinished flows": times(" flow x =\n", "block b {\n"),
    "unclosed brackets": times(" flow x = (\n", "block b {\n"),
    "unclosed blocks": times("block b {\n"),
    "mistakes on one line": times("flow x = = 1 ", "block b { ", "}"),
    "a long line of blanks": times(" ", "param x = 1", "\nparam y = 2"),
    "a long comment": times("#"),
    "comments": times("param x = 1 # one\n# two\n"),
    "empty bodies": each("block b{i} {{ }}"),
    "clauses in a body": times(" every 1 step\n", "block b {\n", "}"),
    "statements among clauses": times(" flow x = 1\n", CLAUSES, "}}"),
    "statements at the top": times("flow x = 1\n"),
    "declarations in a body": times(" param x = 1\n", "block b {\n", "}"),
    "only": times(" only matrices else x\n", "optimizer o {\n", "}"),
    "signs that the language has not": times("\u2192 "),
    "digits": times("1", "param x = "),
    "a long name": times("x", "param ", " = 1"),
}
OF_FILES: dict[str, Make] = {
    "a library module used again": times("use std.hope\n"),
    "library modules that are not there": each("use std.no{i}"),
    "files that are not there": each('use "no{i}.nest"'),
    "a long path": times("a/", 'use "', 'b.nest"'),
    "parameters": each("param p{i} = {i}"),
    "parameters of the one before": lines("param p0 = 1", each("param p{j} = p{i} + 1")),
    "parameters that are not there": each("param p{i} = q{i}"),
    "one parameter again": times("param x = 1\n"),
    "unknown functions": each("param p{i} = f(1)"),
    "models": each("model m{i} {{ input vectors(8)\n flow out = in -> linear }}"),
}
OF_BODIES: dict[str, Make] = {
    "a long pipe": flow(times(" -> silu", "in")),
    "a long pipe of kinds": flow(times(" -> linear", "in")),
    "many flows of one function": flow(times(", in", "concat(in", ") -> linear(8)")),
    "arguments too many": flow(times(", 1", "in -> linear(8", ")")),
    "sums": model("flow f0 = in", each("flow f{j} = f{i} + in"), last("flow out = f{n}")),
    "sums that double": model("flow f0 = in", each("flow f{j} = f{i} + f{i}"), last("flow out = f{n}")),
    "sizes that double": model(
        "flow f0 = in", each("flow f{j} = concat(f{i}, f{i})"), last("flow out = f{n}")
    ),
    "flows that nothing uses": beside(each("flow f{i} = in -> linear -> silu")),
    "flows defined backwards": model(last("flow f{n} = in"), backwards("flow f{i} = f{j}"), "flow out = f0"),
    "levels": through(each("level l{i} = linear")),
    "levels with clauses": through(each("level l{i} = linear {{ every 2 steps  optimizer sgd(lr = 0.1) }}")),
    "levels with an optimizer each": through(each("level l{i} = linear {{ optimizer adamw(lr = 0.{i}) }}")),
    "memories": beside(
        "default { every 1 token }", each("level l{i} = matrix {{ learn in -> in }}\nflow f{i} = l{i}(in)")
    ),
    "a chain of starts": lines(
        through(each("level l{i} = mlp " + UNNAMED_START), last("level l{n} = mlp {{ every 4096 tokens }}"))
    ),
    "a circle of starts": through(
        each("level l{i} = mlp " + UNNAMED_START),
        last("level l{n} = mlp " + UNNAMED_START.replace("{j}", "0")),
    ),
    "an array": model(last("level l[{n}] = linear\nflow out = in -> l")),
    "an array in parallel": model(last("level l[{n}] = linear\nflow out = in -> parallel(l)")),
    "copies": model(last("level l = linear repeat {n}\nflow out = in -> l")),
    "copies of a block": lines(
        "block b { flow x = in -> silu\n flow out = in -> linear }",
        model(last("level l = b repeat {n}\nflow out = in -> l")),
    ),
    "blocks": lines(
        each("block b{i} {{ flow unused = in -> silu\n flow out = in -> linear }}"),
        flow(lambda n: "in" + each(" -> b{i}", "")(n)),
    ),
    "blocks that nothing uses": each("block b{i} {{ flow out = in -> linear }}"),
    "arguments by name": lines(
        lambda n: f"block b({each('p{i} = 1', ', ')(n)}) {{ flow out = in -> linear }}",
        flow(lambda n: f"in -> b({each('p{i} = {i}', ', ')(n)})"),
    ),
    "arguments in order": lines(
        lambda n: f"block b({each('p{i} = 1', ', ')(n)}) {{ flow out = in -> linear }}",
        flow(times("1, ", "in -> b(", ")")),
    ),
    "parameters from those before": lambda n: (
        f"block b(p0 = 1, {each('p{j} = p{i}', ', ')(n)}) {{ flow out = in -> linear }}"
    ),
    "clauses given twice": through(times("frozen ", "level l0 = linear { ", "}")),
    "trains": beside(times("train { objective mse }\n")),
    "inputs": beside(times("input vectors(8)\n")),
    "defaults": beside(times("default { every 1 token }\n")),
    "periods": through(each("level l{i} = linear {{ every {j} steps }}")),
    "small circles": beside(each("flow a{i} = b{i}\nflow b{i} = a{i}")),
    "one circle": beside(each("flow a{i} = in + a{j}"), last("flow a{n} = a0")),
    "a circle that cannot be read": beside(each("flow a{i} = nothing + a{j}"), last("flow a{n} = a0")),
    "circles of memories": beside(
        "default { every 1 token }",
        each("level m{i} = matrix {{ learn k{i} -> in }}\nflow k{i} = in -> m{i}"),
    ),
    "unknown names": beside(each("flow f{i} = in + nothing{i}")),
    "unknown names among many": beside(each("flow some_flow_{i} = in + same_flew_{i}")),
    "unknown names on one line": flow(lambda n: f"concat({each('nothing{i}', ', ')(n)}, in)"),
    "unknown kinds": beside(each("level l{i} = kind{i}")),
    "sizes that differ": beside(each("flow f{i} = in + (in -> linear(9))")),
    "names defined twice": beside(times("flow f = in\n")),
    "mistakes in one pipe": flow(times(" -> linear(nothing)", "in")),
    "strings": flow(times(' -> linear("s")', "in")),
    "elements": model("level l[2] = linear", times(" -> l[0]", "flow out = in")),
    "elements that are not there": model("level l[2] = linear", times(" -> l[2]", "flow out = in")),
    "weights of files": through(each('level l{i} = linear {{ init from "no{i}.safetensors:a" }}')),
    "a long place of weights": lines(
        times("a", 'param p = "', '"'), through(times("{p}", 'level l0 = linear { init from "', ':a" }'))
    ),
    "nested parentheses": flow(nested("(", "in", ")")),
    "nested calls": flow(nested("silu(", "in", ")")),
    "nested signs": flow(times("-", "", "in")),
    "nested pipes": flow(nested("(in -> ", "silu", ")")),
    "blocks within blocks": lines(
        each("block b{i} {{ flow out = in -> b{j} }}"), last("block b{n} {{ flow out = in -> linear }}")
    ),
}
OF_OPTIMIZERS: dict[str, Make] = {
    "flows": optimizer("-f{n}", "flow f0 = grad", each("flow f{j} = f{i} + grad")),
    "flows that double": optimizer(
        "-m",
        "flow f0 = grad",
        each("flow f{j} = f{i} * f{i}"),
        last("level m = ema(0.9) {{ learn f{n} }}"),
    ),
    "flows backwards": optimizer("-f0", last("flow f{n} = grad"), backwards("flow f{i} = f{j} + grad")),
    "flows that nothing uses": optimizer("-grad", each("flow f{i} = grad + {i}")),
    "a sum of parameters": optimizer(
        "-m",
        "flow f0 = 0 * lr",
        each("flow f{j} = f{i} + p{i}"),
        last("level m = sum_of(0 * f{n}) {{ learn grad }}"),
        parameters=lambda n: f"lr = 1, {each('p{i} = 0', ', ')(n)}",
    ),
    "memories": optimizer(
        "-f{n}", "flow f0 = grad", each("level m{i} = ema(0.9) {{ learn grad }}\nflow f{j} = f{i} + m{i}")
    ),
    "memories of the next": optimizer(
        "-m0",
        each("level m{i} = ema(0.9) {{ learn m{j}  read before }}"),
        last("level m{n} = ema(0.9) {{ learn grad }}"),
    ),
    "memories of the one before": optimizer(
        "-m{n}", "level m0 = ema(0.9) { learn grad }", each("level m{j} = ema(0.9) {{ learn m{i} }}")
    ),
    "an array": optimizer("-m[0]", last("level m[{n}] = ema(0.9) {{ learn grad }}")),
    "a circle": optimizer("-f0", each("flow f{i} = f{j}"), last("flow f{n} = f0")),
    "unknown names": optimizer("-grad", each("flow f{i} = grad + nothing{i}")),
    "parameters": optimizer("-lr * grad", parameters=lambda n: f"lr = 0.1, {each('p{i} = {i}', ', ')(n)}"),
    "a long pipe": optimizer("-f", times(" -> tanh", "flow f = grad")),
    "many arguments": optimizer("-f", times(", grad", "flow f = max(grad", ")")),
    "levels of a large optimizer": lines(
        optimizer("-f{n}", "flow f0 = lr * grad", each("flow f{j} = f{i} + grad")),
        through(each("level l{i} = linear {{ optimizer o(lr = 0.{j}) }}")),
    ),
    "levels of one large optimizer": lines(
        optimizer("-f{n}", "level m = ema(0.9) { learn grad }\nflow f0 = m", each("flow f{j} = f{i} + grad")),
        through(each("level l{i} = linear {{ optimizer o }}")),
    ),
    "optimizers that leave the rest": lines(
        each("optimizer o{i}(lr = 1) {{ only matrices else o{j}(lr = lr)\nflow update = -lr * grad }}"),
        last("optimizer o{n}(lr = 1) {{ flow update = -lr * grad }}"),
    ),
}
PROGRAMS: dict[str, Make] = {
    f"{kind}: {name}": make
    for kind, programs in (
        ("text", OF_TEXT),
        ("files", OF_FILES),
        ("bodies", OF_BODIES),
        ("optimizers", OF_OPTIMIZERS),
    )
    for name, make in programs.items()
}
