"""Elaborates one body, a block's or a model's: its names, levels, flows and clauses, in that order."""

from __future__ import annotations

from dataclasses import replace

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nodes import KIND_CALL, Flow, Level, Scope
from nestdsl.limits import MAX_BLOCK_DEPTH, MAX_LEVELS
from nestdsl.semantics.constants import UNKNOWN, describe, is_number
from nestdsl.semantics.elaborate.flows import ModelFlows
from nestdsl.semantics.elaborate.scope import BodyScope, Inherited, WaitingLevel
from nestdsl.semantics.elaborate.self_attention import self_attention
from nestdsl.semantics.elaborate.shared import WITH_TRAIN
from nestdsl.semantics.modules import Module, from_library, like_in_library
from nestdsl.semantics.names.bodies import declare_body
from nestdsl.semantics.names.clauses import Clauses, collect, is_surprise, places
from nestdsl.semantics.names.meanings import ConstantName, FlowName, LevelName, Poisoned, Stage
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.values.arguments import bind, gives_all, match_arguments, whole_hint
from nestdsl.semantics.within_limits import LimitReachedError
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.syntax.names import names_in
from nestdsl.vocabulary.signatures import LIBRARY, Kind

_OUTPUTS = frozenset(("output", "outputs", "result", "logits", "y"))
"""What other programs call the flow that a body gives."""


class Body(BodyScope):
    """One instance of a block or model: `run` adds everything in it to the graph but clauses of levels."""

    def run(self, statements: tuple[ast.Statement, ...], owner: ast.Name, what: str) -> None:
        declared = declare_body(statements, self.values, self.diagnostics)
        self._default = declared.default
        self.declare(declared)
        if any(isinstance(one, ast.Broken) for one in statements):
            self.shared.graph.lacks_flows = True
        self._report_out_of_place(statements, what)
        for level in declared.levels.values():
            self._level(level)
        for flow in declared.flows.values():
            self._flow(flow)
        if "out" not in self.own and not declared.has_unnamed:
            self.diagnostics.report(
                "N0303",
                f"{what} `{owner.text}` has no `out`",
                owner.span,
                self._output_meant(what),
            )

    def _output_meant(self, what: str) -> str:
        """A hint for a body without `out`: the flow that was to be it, if one is called alike."""
        flows = [name for name, meaning in self.own.items() if isinstance(meaning, FlowName)]
        near = next((name for name in flows if name in _OUTPUTS), None)
        if near is not None:
            return f"is it `{near}`? What a {what} gives is called `out`"
        return "say what it gives: `flow out = ...`"

    def _report_out_of_place(self, statements: tuple[ast.Statement, ...], what: str) -> None:
        """N0405 for statements that mean something in another sort of body."""
        for statement in statements:
            match statement:
                case ast.Only():
                    self.diagnostics.report(
                        "N0405",
                        f"`only` has no meaning in a {what}: it says which weights an optimizer drives",
                        statement.span,
                        "write it in an `optimizer`, and name that at a level or in `train`",
                    )
                case ast.Input() | ast.Train() if what == "block":
                    word = "input" if isinstance(statement, ast.Input) else "train"
                    self.diagnostics.report(
                        "N0405",
                        f"`{word}` has no meaning in a block",
                        statement.span,
                        "a block is given the flow `in`" if word == "input" else "write it in the model",
                    )

    # --- flows -----------------------------------------------------------------------------

    def _flow(self, flow: ast.Flow) -> None:
        id = self.prefix + flow.name.text
        source = ModelFlows(self, id).flow(flow.value, "a flow's value")
        if source is not None:
            self.shared.feed(id, source)
        else:
            self.shared.graph.lacks_flows = True
            self.shared.graph.mentions[id] = self._mentioned(flow.value)

    def _mentioned(self, expression: ast.Expression) -> tuple[str, ...]:
        """The flows in an expression that could not be read: they may lead back to it."""
        found = [self.meaning(name.text) for name in names_in(expression) if isinstance(name, ast.Name)]
        return tuple(meaning.id for meaning in found if isinstance(meaning, FlowName))

    # --- levels ----------------------------------------------------------------------------

    def _level(self, level: ast.Level) -> None:
        elements = self._elements(level)
        self.index = None
        self.own[level.name.text] = (
            Poisoned() if elements is None else LevelName(elements, level.count is not None)
        )

    def _elements(self, level: ast.Level) -> tuple[tuple[Stage, ...], ...] | None:
        """For each element of an array (one if it is none) its copies; None after a mistake."""
        count = self._copies(level.count, "an array")
        copies = self._copies(level.repeat, "a repeat")
        if count is None or copies is None:
            return None
        own = collect(level.clauses, self.diagnostics)
        name = level.name.text
        elements: list[tuple[Stage, ...]] = []
        for element in range(count):
            self.index = element if level.count is not None else None
            base = f"{name}[{element}]" if level.count is not None else name
            stages: list[Stage] = []
            for copy in range(copies):
                local = f"{base}[{copy}]" if level.repeat is not None else base
                declared = f"{base}[*]" if level.repeat is not None else base
                stage = self._stage(level.kind, local, declared, own, (copy, copies), level.span)
                if stage is None:
                    return None
                stages.append(stage)
            elements.append(tuple(stages))
        return tuple(elements)

    def _copies(self, expression: ast.Expression | None, what: str) -> int | None:
        if expression is None:
            return 1
        value = self.constant(expression)
        if value is UNKNOWN:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.diagnostics.report(
                "N0202",
                f"the number of copies of {what} is a positive whole number; this is {describe(value)}",
                expression.span,
                whole_hint(value),
            )
            return None
        if value > MAX_LEVELS:
            self.shared.too_many_levels(expression.span)
        return value

    def anonymous(self, call: ast.Call, local: str) -> Stage | None:
        return self._stage(call, local, local, {}, (0, 1), call.span)

    def _stage(
        self, call: ast.Call, local: str, declared: str, own: Clauses, copy: tuple[int, int], span: Span
    ) -> Stage | None:
        name = call.function.text
        found = self.find(name)
        if found and isinstance(found[1], ast.Block):
            return self._block(*found, call, local, declared, own, copy, span)
        kind = LIBRARY.kinds.get(name) if found is None else None
        if kind is None:
            self._no_kind(call.function)
            return None
        if self._has_input_size(call, kind):
            return None
        arguments = bind(call, kind.arguments, f"`{name}`", self.constant, self.diagnostics)
        if arguments is None or not self._chooses_one(call, kind):
            return None
        self.shared.count_level(span)
        clauses = self._with_default(own, kind)
        learn = own.get("learn")
        level = Level(
            id=self.prefix + local,
            declared=self.declared_prefix + declared,
            scope=self.scope.id,
            name=local,
            kind=name,
            arguments=tuple(arguments.items()),
            span=span,
            period=WITH_TRAIN,
            written=(*places(own), (KIND_CALL, call.span)),
        )
        if kind.is_nonparametric and (learn is None or is_surprise(learn)):
            return self_attention(self, level, own)
        self.shared.graph.reserve(level.id)
        self.waiting.append(WaitingLevel(self, level, clauses, self.index))
        return Stage(level=level.id)

    def _has_input_size(self, call: ast.Call, kind: Kind) -> bool:
        """Reports `linear(64, 256)`, as torch writes it: here the size of what is read is inferred."""
        if not kind.takes_input_size or len(call.arguments) != 2:
            return False
        first, second = call.arguments
        if first.name or second.name or not is_number(self.constant(second.value)):
            return False
        self.diagnostics.report(
            "N0103",
            f"`{kind.name}` takes the size that it makes; that of what it reads is inferred",
            call.span,
            f"write `{kind.name}({second.span.text})`",
        )
        return True

    def _chooses_one(self, call: ast.Call, kind: Kind) -> bool:
        """Reports several arguments of which only one can be given; True if there are none such."""
        names = [spec.name for spec in kind.arguments]
        # What else is wrong with them is reported where they are bound.
        matched = match_arguments(call, names, f"`{kind.name}`", Diagnostics())
        given = [name for name in kind.alternatives if name in matched]
        if len(given) < 2:
            return True
        self.diagnostics.report(
            "N0103",
            f"`{kind.name}` is given {listed(given)}, of which it takes only one",
            matched[given[-1]].span,
            f"give {' or '.join(f'`{name}`' for name in given)}, not both",
        )
        return False

    def _no_kind(self, name: ast.Name) -> None:
        match self.meaning(name.text):
            case Poisoned():
                return
            case ConstantName():
                thing = "a value"
            case LevelName():
                thing = "a level"
            case FlowName():
                thing = "a flow"
            case None:
                thing = self.describe_name(name.text)
        if thing:
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is {thing}, not a kind of level or a block",
                name.span,
                "the kinds are " + ", ".join(LIBRARY.kinds),
            )
        elif not self.module.may_have(name.text):
            known = [
                *LIBRARY.kinds,
                *(known for known in self.module.known_names() if self.makes_levels(known)),
            ]
            self.diagnostics.report(
                "N0101",
                f"there is no kind or block `{name.text}`",
                name.span,
                from_library(name.text)
                or did_you_mean(name.text, known)
                or like_in_library(name.text)
                or f"the kinds are {', '.join(LIBRARY.kinds)}; your own need `--import MODULE`",
            )

    def _with_default(self, own: Clauses, kind: Kind) -> Clauses:
        """The clauses of a level with those of the body's `default`, if it says `learn`."""
        if "learn" not in own or kind.is_nonparametric:
            return own
        return {**self._default, **own}

    # --- blocks ----------------------------------------------------------------------------

    def _block(
        self,
        module: Module,
        block: ast.Declaration,
        call: ast.Call,
        local: str,
        declared: str,
        own: Clauses,
        copy: tuple[int, int],
        span: Span,
    ) -> Stage | None:
        assert isinstance(block, ast.Block)
        self.shared.count_nodes(span)
        if any(block is other for other in self.around):
            self.diagnostics.report(
                "N0104",
                f"the block `{block.name.text}` contains itself",
                call.span,
                "copies in a row are written `repeat n`",
            )
            return None
        if len(self.around) >= MAX_BLOCK_DEPTH:
            self.diagnostics.report(
                "N0004",
                f"blocks stand at most {MAX_BLOCK_DEPTH} deep in one another",
                call.span,
                "write what is inside in one block; blocks in a row need no nesting",
            )
            raise LimitReachedError
        names = [parameter.name.text for parameter in block.parameters]
        matched = match_arguments(call, names, f"`{block.name.text}`", self.diagnostics)
        given = {name: self.constant(argument.value) for name, argument in matched.items()}
        if not gives_all(call, block, matched, self.diagnostics):
            return None
        values = self.parameters.of_declaration(module, block.parameters, given)
        self.shared.instantiated.add(id(block))
        scope = Scope(
            self.prefix + local,
            self.declared_prefix + declared,
            block.name.text,
            self.scope.id,
            span,
            *copy,
            body=block.span,
        )
        graph = self.shared.graph
        graph.scopes[scope.id] = scope
        entry = graph.add(Flow(f"{scope.id}.in", scope.id, "in", span))
        inherited, around = self._inherited_by_block(own), (*self.around, block)
        body = Body(
            self.shared, module, self.parameters, scope, values, entry, self.waiting, inherited, around
        )
        body.run(block.body, block.name, "block")
        return Stage(entry=entry, exit=f"{scope.id}.out")

    def _inherited_by_block(self, own: Clauses) -> Inherited:
        """What the clauses of a level whose kind is a block mean for the levels inside."""
        inherited = self.inherited
        for name, clause in own.items():
            match clause:
                case ast.Every():
                    period = self.clause_reader.period(clause)
                    inherited = replace(inherited, period=period or inherited.period)
                case ast.OptimizerClause(call):
                    optimizer = self.optimizers.surprised(call)
                    inherited = replace(inherited, optimizer=optimizer or inherited.optimizer)
                case ast.Frozen():
                    inherited = replace(inherited, frozen=clause.span)
                case ast.Gradient():
                    gradient = self.clause_reader.gradient(clause)
                    inherited = replace(inherited, gradient=gradient or inherited.gradient)
                case ast.Broken():
                    pass
                case _:
                    self.diagnostics.report(
                        "N0405",
                        f"`{name}` has no meaning for a block: it speaks of one memory",
                        clause.span,
                        "say it at the levels inside the block",
                    )
        return inherited
