"""Elaborates one body, a block's or a model's: its names, levels, flows and clauses, in that order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nestdsl.diagnostics import Note
from nestdsl.graph.nodes import EdgeType, Flow, Learning, Level, Read, Scope, Unit
from nestdsl.library.signatures import LIBRARY, Kind, Value
from nestdsl.limits import MAX_BLOCK_DEPTH, MAX_LEVELS
from nestdsl.semantics.arguments import bind, match_arguments, whole_hint
from nestdsl.semantics.clauses import ClauseReader, Clauses, collect, is_surprise, places
from nestdsl.semantics.flows import FlowElaborator
from nestdsl.semantics.modules import Module, report_twice
from nestdsl.semantics.names import did_you_mean
from nestdsl.semantics.parameters import FileParameters
from nestdsl.semantics.scope import (
    ConstantName,
    FlowName,
    Inherited,
    LevelName,
    LimitReachedError,
    Meaning,
    Poisoned,
    Shared,
    Stage,
)
from nestdsl.semantics.values import UNKNOWN, Constant, Unknown, describe, fold
from nestdsl.source import Span
from nestdsl.syntax import ast

WITH_TRAIN = 0
"""The period of a level that says none, until that of `train` is known."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A level whose clauses wait until all flows of the body are known."""

    level: Level
    clauses: Clauses
    own: Clauses
    index: int | None


class Body:
    """One instance of a block or model: `run` adds everything in it to the graph."""

    def __init__(
        self,
        shared: Shared,
        module: Module,
        parameters: FileParameters,
        scope: Scope,
        values: dict[str, Constant | Unknown],
        input_id: str,
        inherited: Inherited,
    ) -> None:
        self.shared = shared
        self.module = module
        self.parameters = parameters
        self.scope = scope
        self.inherited = inherited
        self.diagnostics = shared.diagnostics
        self.prefix = f"{scope.id}." if scope.id else ""
        self.declared_prefix = f"{scope.declared}." if scope.declared else ""
        self.clause_reader = ClauseReader(module, shared.diagnostics, self.constant)
        self._names: dict[str, Meaning] = {name: ConstantName(value) for name, value in values.items()}
        self._names["in"] = FlowName(input_id)
        self._spans: dict[str, Span] = {}
        self._index: int | None = None
        self._default: Clauses = {}
        self._pending: list[_Pending] = []

    def run(self, statements: tuple[ast.Statement, ...], owner: ast.Name, what: str) -> None:
        self._declare_names(statements)
        for statement in statements:
            if isinstance(statement, ast.Level):
                self._level(statement)
        for statement in statements:
            if isinstance(statement, ast.Flow):
                self._flow(statement)
        for pending in self._pending:
            self._index = pending.index
            self._finish(pending)
        self._index = None
        if "out" not in self._names:
            self.diagnostics.report(
                "N0303",
                f"{what} `{owner.text}` has no `out`",
                owner.span,
                "say what it gives: `flow out = ...`",
            )

    # --- names -----------------------------------------------------------------------------

    def _declare_names(self, statements: tuple[ast.Statement, ...]) -> None:
        default: ast.Default | None = None
        for statement in statements:
            match statement:
                case ast.Flow(name, _, span):
                    if self._is_new(name):
                        self._names[name.text] = FlowName(self.prefix + name.text)
                        self.shared.graph.add(Flow(self.prefix + name.text, self.scope.id, name.text, span))
                case ast.Level(name):
                    if self._is_new(name, is_level=True):
                        self._names[name.text] = LevelName((), False)
                case ast.Broken(str() as name, _) if name not in self._names:
                    self._names[name] = Poisoned()
                case ast.Default(clauses, span):
                    if default is not None:
                        self.diagnostics.report(
                            "N0102",
                            "`default` is said twice",
                            span,
                            "put all clauses into one",
                            (Note("it was said here first", default.span),),
                        )
                    else:
                        default = statement
                        self._default = collect(clauses, self.diagnostics)

    def _is_new(self, name: ast.Name, is_level: bool = False) -> bool:
        if name.text == "in":
            self.diagnostics.report(
                "N0102",
                "`in` is already what the body reads",
                name.span,
                "give it another name",
            )
            return False
        if is_level and name.text == "out":
            self.diagnostics.report(
                "N0104",
                "`out` is what the body gives: a flow, not a level",
                name.span,
                "give the level another name, and read it: `flow out = in -> name`",
            )
            self._names["out"] = Poisoned()
            return False
        if name.text in self._spans:
            report_twice(self.diagnostics, name, self._spans[name.text])
            return False
        if isinstance(self._names.get(name.text), ConstantName):
            self.diagnostics.report(
                "N0102",
                f"`{name.text}` is already a parameter of this body",
                name.span,
                "give one of them another name",
            )
            return False
        self._spans[name.text] = name.span
        return True

    def meaning(self, name: str) -> Meaning | None:
        """What a name means here: of this body, or a parameter of the file."""
        if name in self._names:
            return self._names[name]
        if name == "index" and self._index is not None:
            return ConstantName(self._index)
        found = self.find(name)
        if found and isinstance(found[1], ast.Param):
            return ConstantName(self.parameters.value(found[0], found[1]))
        if found is None and name in self.module.broken:
            return Poisoned()
        return None

    def find(self, name: str) -> tuple[Module, ast.Declaration] | None:
        """What the file declares or imports by a name. A model hides nothing: no body can use it."""
        found = self.module.find(name)
        if found and isinstance(found[1], ast.Model) and (name in LIBRARY.kinds or name in LIBRARY.functions):
            return None
        return found

    def is_declared(self, name: str) -> bool:
        """True if the file declares or imports the name, which then hides the library's."""
        return self.find(name) is not None

    def makes_levels(self, name: str) -> bool:
        """True for a kind or a block."""
        found = self.find(name)
        return isinstance(found[1], ast.Block) if found else name in LIBRARY.kinds

    def describe_name(self, name: str) -> str | None:
        """What a name of the file or library is, for messages; None if nothing has it."""
        found = self.find(name)
        if found:
            return {ast.Block: "a block", ast.Optimizer: "an optimizer", ast.Model: "a model"}.get(
                type(found[1]), "a parameter"
            )
        if name in LIBRARY.kinds:
            return "a kind of level"
        if name in LIBRARY.functions:
            return "a function"
        return "an optimizer" if name in LIBRARY.optimizers else None

    def unknown_name(self, name: ast.Name) -> Unknown:
        if not self.module.is_partial:
            hint = did_you_mean(
                name.text, self._known_names(), "declare it with `flow` or `level`, or bring it in with `use`"
            )
            self.diagnostics.report("N0101", f"unknown name `{name.text}`", name.span, hint)
        return UNKNOWN

    def _known_names(self) -> Iterator[str]:
        yield from self._names
        yield from self.module.known_names()
        yield from LIBRARY.functions
        yield from LIBRARY.kinds

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        """The value of an expression of parameters and numbers."""
        return fold(expression, self._constant_name, self.diagnostics)

    def _constant_name(self, name: ast.Name) -> Constant | Unknown:
        match self.meaning(name.text):
            case ConstantName(value):
                return value
            case FlowName() | LevelName():
                self.diagnostics.report(
                    "N0104",
                    f"`{name.text}` is no compile-time value",
                    name.span,
                    "a number, a parameter or arithmetic on them is needed here",
                )
                return UNKNOWN
            case Poisoned():
                return UNKNOWN
        thing = self.describe_name(name.text)
        if thing:
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is {thing}, not a value",
                name.span,
                "a number, a parameter or arithmetic on them is needed here",
            )
            return UNKNOWN
        return self.unknown_name(name)

    def unknown_flow(self) -> FlowName:
        """A flow without source, which stands where a mistake was reported."""
        id = f"{self.prefix}?"
        if id not in self.shared.graph:
            self.shared.graph.add(Flow(id, self.scope.id, "?", self.scope.span))
        return FlowName(id)

    # --- flows -----------------------------------------------------------------------------

    def _flow(self, flow: ast.Flow) -> None:
        id = self.prefix + flow.name.text
        if self._spans.get(flow.name.text) != flow.name.span:
            return
        elaborator = FlowElaborator(self, id)
        source = elaborator.flow(flow.value, "a flow's value")
        if source is not None:
            self.shared.feed(id, source)

    # --- levels ----------------------------------------------------------------------------

    def _level(self, level: ast.Level) -> None:
        if self._spans.get(level.name.text) != level.name.span:
            return
        elements = self._elements(level)
        self._index = None
        self._names[level.name.text] = (
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
            self._index = element if level.count is not None else None
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
        """A level that a flow makes in its place, such as `in -> linear(64)`."""
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
        arguments = bind(call, kind.arguments, f"`{name}`", self.constant, self.diagnostics)
        if arguments is None:
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
            written=places(own),
        )
        if kind.is_nonparametric and (learn is None or is_surprise(learn)):
            return self._self_attention(level, own)
        self.shared.graph.reserve(level.id)
        pending = _Pending(level, clauses, own, self._index)
        if own:
            self._pending.append(pending)
        else:
            self._finish(pending)
        return Stage(level=level.id)

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
        elif not self.module.is_partial:
            known = [
                *LIBRARY.kinds,
                *(known for known in self.module.known_names() if self.makes_levels(known)),
            ]
            self.diagnostics.report(
                "N0101",
                f"there is no kind or block `{name.text}`",
                name.span,
                did_you_mean(name.text, known, "the kinds are " + ", ".join(LIBRARY.kinds)),
            )

    def _with_default(self, own: Clauses, kind: Kind) -> Clauses:
        """The clauses of a level with those of the body's `default`, if it says `learn`."""
        if "learn" not in own or kind.is_nonparametric:
            return own
        return {**self._default, **own}

    def _self_attention(self, level: Level, own: Clauses) -> Stage:
        """Attention that nobody gives a key and a value: it reads all from one flow.

        Its projections are levels of their own, which learn from surprise (FACTS A11).
        """
        graph = self.shared.graph
        entry = graph.add(Flow(f"{level.id}.in", self.scope.id, f"{level.name}.in", level.span))
        shared = tuple(
            (name, span) for name, span in level.written if name in ("every", "optimizer", "frozen")
        )
        arguments: tuple[tuple[str, Value], ...] = (("out", None), ("bias", dict(level.arguments)["bias"]))
        outputs: dict[str, str] = {}

        def project(name: str, source: str) -> str:
            self.shared.count_level(level.span)
            projection = replace(
                level,
                id=f"{level.id}.{name}",
                declared=f"{level.declared}.{name}",
                name=f"{level.name}.{name}",
                kind="linear",
                arguments=arguments,
                written=shared,
            )
            graph.reserve(projection.id)
            pending = _Pending(projection, {key: own[key] for key in own if key in dict(shared)}, {}, None)
            self._finish(pending)
            return graph.add(Read(f"{projection.id}#", self.scope.id, projection.id, source, level.span))

        for name in ("query", "key", "value"):
            outputs[name] = project(name, entry)
        written = tuple((name, span) for name, span in level.written if name not in (*dict(shared), "learn"))
        gradient = own.get("gradient")
        kept = self.clause_reader.gradient(gradient) if isinstance(gradient, ast.Gradient) else None
        graph.add(
            replace(
                level,
                unit=Unit.TOKEN,
                period=1,
                learning=Learning.ASSOCIATION,
                written=written,
                objective=None,
                gradient=kept or level.gradient,
            )
        )
        graph.connect(outputs["key"], level.id, EdgeType.KEY)
        graph.connect(outputs["value"], level.id, EdgeType.VALUE)
        solved = graph.add(Read(f"{level.id}#", self.scope.id, level.id, outputs["query"], level.span))
        exit = graph.add(Flow(f"{level.id}.out", self.scope.id, f"{level.name}.out", level.span))
        self.shared.feed(exit, project("output", solved))
        return Stage(entry=entry, exit=exit)

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
        if any(block is other for other in self.shared.open_blocks):
            self.diagnostics.report(
                "N0104",
                f"the block `{block.name.text}` contains itself",
                call.span,
                "copies in a row are written `repeat n`",
            )
            return None
        if len(self.shared.open_blocks) >= MAX_BLOCK_DEPTH:
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
        for parameter in block.parameters:
            if parameter.default is None and parameter.name.text not in given:
                self.diagnostics.report(
                    "N0103",
                    f"`{block.name.text}` needs `{parameter.name.text}`",
                    call.span,
                    f"write `{block.name.text}({parameter.name.text} = ...)`",
                )
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
        )
        graph = self.shared.graph
        graph.scopes[scope.id] = scope
        entry = graph.add(Flow(f"{scope.id}.in", scope.id, "in", span))
        body = Body(self.shared, module, self.parameters, scope, values, entry, self._inherited_by_block(own))
        self.shared.open_blocks.append(block)
        body.run(block.body, block.name, "block")
        self.shared.open_blocks.pop()
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
                    optimizer = self.clause_reader.optimizer(call)
                    inherited = replace(inherited, optimizer=optimizer or inherited.optimizer)
                case ast.Frozen():
                    inherited = replace(inherited, frozen=True)
                case _:
                    self.diagnostics.report(
                        "N0405",
                        f"`{name}` has no meaning for a block: it speaks of one memory",
                        clause.span,
                        "say it at the levels inside the block",
                    )
        return inherited

    # --- clauses ---------------------------------------------------------------------------

    def _finish(self, pending: _Pending) -> None:
        """Reads the clauses of a level and adds it to the graph."""
        level, clauses = pending.level, pending.clauses
        reader = self.clause_reader
        changes: dict[str, object] = {}
        learn = clauses.get("learn")
        if isinstance(learn, ast.Learn) and self._associates(level, learn):
            changes["learning"] = Learning.ASSOCIATION
            changes["objective"] = "l2"
        elif learn is None or isinstance(learn, ast.Learn):
            self._inherit(level, clauses, changes)
        for name, clause in clauses.items():
            found: object = None
            match clause:
                case ast.Every():
                    period = reader.period(clause)
                    if period:
                        changes["period"], changes["unit"] = period
                    elif changes.get("learning") is Learning.ASSOCIATION:
                        changes["period"], changes["unit"] = 1, Unit.TOKEN  # no second mistake
                    changes["chunk"] = reader.chunk(clause) or (period[0] if period else 1)
                    continue
                case ast.OptimizerClause(call):
                    found = reader.optimizer(call, lambda name, value: self._generated(level, name, value))
                case ast.Objective() if changes.get("learning") is Learning.ASSOCIATION:
                    found = reader.objective_in_context(clause)
                case ast.Init():
                    found = reader.init(clause)
                case ast.Reset():
                    found = reader.reset(clause)
                case ast.Gradient():
                    found = reader.gradient(clause)
                case ast.Read():
                    found = reader.read(clause)
                case ast.Frozen():
                    found = True
            if found is not None:
                changes[name] = found
        kind = LIBRARY.kinds[level.kind]
        if kind.is_nonparametric:
            changes.update(unit=Unit.TOKEN, period=1, chunk=1, objective=None)
        finished = replace(level, **changes)  # type: ignore[arg-type]
        if finished.learns_surprise_in_context and "gradient" not in changes:
            finished = replace(finished, gradient="stop")
        self.shared.graph.add(finished)
        optimizer = finished.optimizer
        for position, (_, source) in enumerate(optimizer.flows if optimizer else ()):
            self.shared.graph.connect(source, level.id, EdgeType.GENERATE, position)

    def _inherit(self, level: Level, clauses: Clauses, changes: dict[str, object]) -> None:
        inherited = self.inherited
        if inherited.period and "every" not in clauses:
            changes["period"], changes["unit"] = inherited.period
        if inherited.optimizer and "optimizer" not in clauses:
            changes["optimizer"] = inherited.optimizer
        if inherited.frozen:
            changes["frozen"] = True

    def _associates(self, level: Level, learn: ast.Learn) -> bool:
        """Elaborates `learn key -> value`; False for `learn surprise` and for mistakes."""
        if learn.value is None:
            if not is_surprise(learn):
                self.diagnostics.report(
                    "N0104",
                    "a memory in a model learns a value for each key",
                    learn.span,
                    "write `learn key -> value`, or `learn surprise`; only an optimizer learns an expression",
                )
            return False
        kind = LIBRARY.kinds[level.kind]
        if not kind.is_memory:
            memories = [name for name, other in LIBRARY.kinds.items() if other.is_memory]
            self.diagnostics.report(
                "N0405",
                f"`{level.kind}` is no associative memory: it cannot learn a value for each key",
                learn.span,
                f"use a memory ({', '.join(memories)}), or leave `learn` out",
            )
            return False
        for part, expression, edge in (
            ("key", learn.key, EdgeType.KEY),
            ("value", learn.value, EdgeType.VALUE),
        ):
            flow = FlowElaborator(self, f"{level.id}.{part}").flow(expression, f"a {part}")
            if flow is not None:
                self.shared.graph.connect(flow, level.id, edge)
        return True

    def _generated(self, level: Level, name: str, expression: ast.Expression) -> object:
        """An optimizer's argument: the id of its flow, or a compile-time value."""
        value = FlowElaborator(self, f"{level.id}.{name}").expression(expression)
        return value.id if isinstance(value, FlowName) else value
