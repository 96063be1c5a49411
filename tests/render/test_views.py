"""What the two views draw of a program, read from their DOT text."""

import re
import subprocess
import sys
import time
from pathlib import Path

import networkx
import pytest

from nestdsl.graph.nodes import TRAIN, EdgeType
from nestdsl.render.contract import contract
from nestdsl.render.flow import flow
from nestdsl.render.fold import fold
from nestdsl.render.nesting import nesting
from nestdsl.render.style import Line, fills, line_attributes, number
from nestdsl.render.views import VIEWS
from tests.render.programs import OPTIMIZERS, RESIDUAL, SELF_REFERENCE, graph_of


def frames_around(dot: str, node: str) -> list[str]:
    """The frames that a node stands in, the outermost first."""
    around: list[str] = []
    for line in dot.splitlines():
        if found := re.search(r'subgraph "cluster (.*?)"', line):
            around.append(found.group(1))
        elif line.strip() == "}":
            around.pop()
        elif re.match(rf'\s*"?{re.escape(node)}"? \[', line):
            return around
    raise AssertionError(f"{node} is not drawn")


def words(dot: str) -> str:
    """The text of a picture without its markup."""
    return re.sub(r"</?[A-Z][^>]*>", "", dot)


def test_options_of_an_optimizer_are_written_as_in_the_program() -> None:
    text = (
        "model m { input vectors(4)\n level s = matrix { learn in -> in  every 1 token"
        "  optimizer gd(step = 0.5, forget_first = true) }\n flow out = in -> s }"
    )
    assert "gd(step=0.5, forget_first=true)" in words(nesting(graph_of(text)).source)


def test_fast_levels_stand_inside_of_slow_ones() -> None:
    chain = """
    model chain() {
      input vectors(4)
      level a[4] = linear { every 4 ** (3 - index) steps }
      flow out = in -> a
      train { objective mse optimizer sgd }
    }
    """
    dot = nesting(graph_of(chain)).source
    depths = [len(frames_around(dot, f"a[{index}]")) for index in range(4)]
    assert depths == [2, 3, 4, 5]
    titles = re.findall(r"<B>(every [^<]*)</B>", dot)
    assert titles == ["every 64 steps", "every 16 steps", "every 4 steps", "every step"]


def test_a_repeat_is_drawn_once_with_its_count() -> None:
    dot = nesting(graph_of(SELF_REFERENCE)).source
    assert dot.count("<B>nested.cells.inner</B>") == 1
    assert "nested.cells.inner ×6" in words(dot)
    assert "6 × 128 parameters" in dot
    drawn = flow(graph_of(SELF_REFERENCE)).source
    assert frames_around(drawn, "nested[*].cells[*].outer") == ["nested[*]", "nested[*].cells[*]"]
    assert "nested ×3" in words(drawn)
    assert "cells ×2" in words(drawn)


def test_no_edge_goes_round_a_repeat() -> None:
    assert not re.search(r'"nested\[\*\]\.out" -> "nested\[\*\]\.in"', flow(graph_of(SELF_REFERENCE)).source)
    folded = fold(graph_of(SELF_REFERENCE))
    reads = [(edge.source, edge.target) for edge in folded.edges if edge.type is EdgeType.READ]
    assert networkx.is_directed_acyclic_graph(networkx.DiGraph(reads))


def test_residual_connections_leave_the_chain_of_levels() -> None:
    edges = {(edge.source, edge.target) for edge in contract(fold(graph_of(RESIDUAL)))}
    assert {("in", "a"), ("a", "b"), ("b", "c"), ("c", TRAIN)} == {
        (source, target) for source, target in edges if source != TRAIN
    }


def test_learning_edges_come_from_the_levels_behind_their_flows() -> None:
    found = {
        (edge.source, edge.target, edge.type, edge.argument)
        for edge in contract(fold(graph_of(SELF_REFERENCE)))
        if edge.source != TRAIN
    }
    cell = "nested[*].cells[*]"
    assert (f"{cell}.k.linear", f"{cell}.inner", EdgeType.KEY, "") in found
    assert (f"{cell}.inner", f"{cell}.outer", EdgeType.VALUE, "") in found
    assert (f"{cell}.rate.linear", f"{cell}.outer", EdgeType.GENERATE, "retain") in found


def test_flows_are_drawn_past_norms() -> None:
    graph = graph_of(SELF_REFERENCE)
    norm = "nested[*].out.rms_norm"
    passed = contract(fold(graph), frozenset({norm}))
    assert not any(norm in (edge.source, edge.target) for edge in passed if edge.type is EdgeType.READ)
    assert any(edge.target == norm for edge in contract(fold(graph)) if edge.type is EdgeType.READ)


def test_each_sort_of_edge_has_a_line_of_its_own_without_colour() -> None:
    looks = [line_attributes(line) for line in Line]
    assert len({(look["style"], look["arrowhead"]) for look in looks}) == len(looks)


def test_the_legend_names_the_lines_in_use_and_no_others() -> None:
    dot = nesting(graph_of(SELF_REFERENCE)).source
    for line in (Line.FLOW, Line.LEARN, Line.SURPRISE, Line.INIT, Line.GENERATE):
        assert line.value in dot
    assert Line.OPTIMIZE.value not in dot
    assert Line.LEARN.value not in nesting(graph_of(RESIDUAL)).source


@pytest.mark.parametrize("view", [nesting, flow])
def test_memories_of_optimizers_are_drawn_on_request(view) -> None:
    graph = graph_of(RESIDUAL)
    assert "sum_of" not in view(graph).source
    drawn = view(graph, optimizers=True).source
    assert "sum_of" in drawn
    assert Line.OPTIMIZE.value in drawn


def test_memories_stand_inside_of_what_they_drive_and_slow_ones_outside() -> None:
    dot = nesting(graph_of(OPTIMIZERS), optimizers=True).source
    depth = {
        name: len(frames_around(dot, name))
        for name in ("@train.two_speeds.near", "@train.two_speeds.far", "head.sgd.m", "head", "slow")
    }
    assert depth["@train.two_speeds.near"] > depth["slow"] > depth["@train.two_speeds.far"]
    assert depth["head.sgd.m"] > depth["head"]
    assert "ema m, v" in words(dot) and "every 64 steps" in words(dot)


@pytest.mark.parametrize("view", [nesting, flow])
def test_the_fastest_box_of_an_optimizer_alone_leads_to_the_weights(view) -> None:
    dot = view(graph_of(OPTIMIZERS), optimizers=True).source
    place = "@train.two_speeds"
    assert "ema near, var" in words(dot) and "newton_schulz, 5 times in 16 steps" in words(dot)
    assert re.search(rf'"{place}.near" -> "?out', dot)
    assert re.findall(rf'"{place}.far" -> (\S+)', dot) == [f'"{place}.near"']


def test_what_drives_levels_does_not_change_what_nests_in_what() -> None:
    """The memories of an optimizer stand in one frame more, inside of what they drive."""
    graph = graph_of(RESIDUAL)
    assert fold(graph).ranks == fold(graph, optimizers=True).ranks
    frames = [nesting(graph, optimizers).source.count("subgraph") for optimizers in (False, True)]
    assert frames[1] == frames[0] + 1


def test_a_frozen_level_gets_no_surprise_and_says_so() -> None:
    dot = nesting(graph_of(RESIDUAL)).source
    assert "never, frozen" in dot
    assert f'a -> "{TRAIN}" [' in dot  # to the frame of a and b
    assert not re.search(rf'\bc -> "{TRAIN}" \[.*dashed', dot)


def test_operations_whose_order_matters_say_which_operand_is_second() -> None:
    drawn = flow(graph_of(SELF_REFERENCE)).source
    assert "label=minus" in drawn
    assert "label=<1 ->" in words(drawn)


def test_names_are_escaped_and_one_font_is_used() -> None:
    for view in VIEWS.values():
        dot = view(graph_of(SELF_REFERENCE), False).source
        assert set(re.findall(r"fontname=(\S+?)[\s\]]", dot)) == {"Helvetica"}


def test_fills_deepen_with_speed_and_stay_apart() -> None:
    from fractions import Fraction

    speeds = [(0, Fraction(0)), (1, Fraction(1, 64)), (1, Fraction(1)), (2, Fraction(1)), (3, Fraction(1))]
    assert len(set(fills(speeds).values())) == len(speeds)


def test_numbers_are_short() -> None:
    assert [number(n) for n in (0, 999, 1_020, 16_576, 1_310_000, 2 * 10**9)] == [
        "0", "999", "1.02 k", "16.6 k", "1.31 M", "2 G",
    ]  # fmt: skip


def test_two_thousand_levels_give_their_text_in_time() -> None:
    """Every level reads the sum of all before it: edges must not grow with the square."""
    count = 2000
    body = "\n".join(f"level l{i} = linear\nflow h{i + 1} = h{i} + (h{i} -> l{i})" for i in range(count))
    program = f"""
    model long() {{
      input vectors(8)
      flow h0 = in -> linear
      {body}
      flow out = h{count}
      train {{ objective mse optimizer sgd }}
    }}
    """
    graph = graph_of(program)
    for view in VIEWS.values():
        start = time.process_time()
        dot = view(graph, False).source
        assert time.process_time() - start < 8
        assert f"<B>l{count - 1}</B>" in dot


def test_long_chains_of_equal_speed_share_a_frame() -> None:
    """Each memory needs the one before at the same token; six frames in one another show nothing."""
    flows = "\n".join(
        f"level m{i} = matrix {{ learn h{i} -> h{i}  every 1 token }}\nflow h{i + 1} = m{i}(h{i})"
        for i in range(6)
    )
    program = f"""
    model memories() {{
      input vectors(4)
      flow h0 = in -> linear
      {flows}
      flow out = h6
      train {{ objective mse optimizer sgd }}
    }}
    """
    graph = graph_of(program)
    assert len(fold(graph).ranks) == 7
    assert len(frames_around(nesting(graph).source, "m0")) == 3


def test_drawing_does_not_import_torch() -> None:
    script = (
        "import sys; from nestdsl.api import load; nest = load(sys.argv[1]); "
        "nest.render('nesting').svg; nest.render('flow').dot; assert 'torch' not in sys.modules"
    )
    program = Path(__file__).parents[2] / "examples" / "hope.nest"
    subprocess.run([sys.executable, "-c", script, str(program)], check=True)


SPEEDS = """
optimizer speeds(lr = 0.1) {{
  level far = ema(0.9) {{ learn grad  every 8 steps }}
  {near}
}}
model five() {{
  input vectors(8)
  level a[4] = linear
  level other = linear {{ optimizer momentum }}
  flow out = in -> a {other}
  train {{ objective mse  optimizer speeds }}
}}
"""
NEAR = "level near = ema(0.9) { learn grad }\n  flow update = -lr * (near + far)"


def test_a_memory_of_many_levels_around_it_says_so_instead_of_an_edge_for_each() -> None:
    dot = nesting(graph_of(SPEEDS.format(near=NEAR, other="")), optimizers=True).source
    assert not re.findall(r'"@train.speeds.near" -> .*', dot)
    assert "drives all around it" in words(dot)
    assert re.findall(r'"@train.speeds.far" -> (\S+)', dot) == ['"@train.speeds.near"']
    dot = nesting(graph_of(SPEEDS.format(near=NEAR, other="-> other")), optimizers=True).source
    assert "drives all around it but other" in words(dot)
    assert re.findall(r'"other.momentum.m" -> (\S+)', dot) == ["other"]


def test_a_slow_memory_of_all_levels_of_a_frame_has_one_edge_to_it() -> None:
    program = SPEEDS.format(near="flow update = -lr * far", other="")
    dot = nesting(graph_of(program), optimizers=True).source
    (far,) = re.findall(r'"@train.speeds.far" -> .*', dot)
    assert 'lhead="cluster rank' in far


def test_optimizers_of_levels_that_share_a_box_share_one_too() -> None:
    """The projections of attention are levels each with its own optimizer."""
    program = """
    model projections() {
      input vectors(8)
      level attend = attention(2) { optimizer m3(period = 4) }
      flow out = in -> attend -> linear(8)
      train { objective mse  optimizer sgd }
    }
    """
    dot = nesting(graph_of(program), optimizers=True).source
    assert words(dot).count("ema v, near") == words(dot).count("ema far") == 1
    assert "m3 ×4" in words(dot)
    (far,) = re.findall(r'"(attend.\S+.m3.far)" ->', dot)
    assert re.findall(rf'"{far}" -> (\S+)', dot) == [f'"{far.removesuffix("far")}v"']
