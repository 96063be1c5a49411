"""What people bring along from other languages, inside a statement that begins well.

Each function knows one habit: it gives the diagnostic with what to write here, or None. A hint that begins
with `write` and code gives what takes the place of the text that the diagnostic underlines.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.lines import CLAUSE_WORDS, STATEMENT_WORDS, Place, line_end
from nestdsl.syntax.mistakes import UNREADABLE, WORD, Here, syntax
from nestdsl.syntax.prefixes import prefix
from nestdsl.syntax.signs import foreign_operator
from nestdsl.syntax.wording import code, quote

_WITHOUT_EQUAL = frozenset((*CLAUSE_WORDS, "input", "default", "train"))
_CONDITIONS = frozenset(("if", "elif", "else", "then", "and", "or", "not", "is", "where", "when"))
_CHOICES = (
    "there are no conditions: `sign(x)` is -1, 0 or 1, `relu(x)` is x above 0, and in an optimizer "
    "`max`, `min` and `clip` choose between values"
)
_TYPES = frozenset(
    (
        "int",
        "float",
        "bool",
        "str",
        "usize",
        "u32",
        "u64",
        "i32",
        "i64",
        "f32",
        "f64",
        "number",
        "string",
        "Tensor",
    )
)
_VALUE = r"(?:\d[\w.]*(?:(?<=[eE])[+-]\d+)?|[A-Za-z_]\w*)"
_ANNOTATION = re.compile(r":[ \t]*([A-Za-z_][\w.\[\]]*)[ \t]*(?=[=,)])")
_SIDE_BY_SIDE = re.compile(rf"({_VALUE})[ \t]*(?:,|=>?|:|to\b)[ \t]*({_VALUE})")
_REVERSED = re.compile(rf"({_VALUE})[ \t]+(?:from|for)[ \t]+({_VALUE})")
_IN_PARENTHESES = re.compile(rf"\([ \t]*{_SIDE_BY_SIDE.pattern}[ \t]*\)")
_CHUNK = re.compile(r"(?:in[ \t]+)?chunks?[ \t]*[=:]?[ \t]*(\w+)|(\d+)[ \t]+chunks?")
_KEYWORDS = "|".join(CLAUSE_WORDS)
_SETTING = rf"([A-Za-z_]\w*)\b[ \t]*[=:]?[ \t]*({_VALUE})"
_SETTINGS = re.compile(rf"\{{?[ \t]*{_SETTING}((?:[ \t]*,?[ \t]*{_SETTING})*)[ \t]*\}}?")
_BRACKETS = re.compile(r"[<{\[][ \t]*([\w.]+(?:[ \t]*[=,][ \t]*[\w.]+)*)[ \t]*[>}\]]")
_COPIES = re.compile(r"(?:x|\*|times|by)[ \t]*([0-9]+|[A-Za-z_]\w*)(?:[ \t]+times)?")
_DASHED = re.compile(r"[A-Za-z_]\w*(?:-[A-Za-z_]\w*)+")
_TWO_VALUES = re.compile(r"(\w+)s[ \t]*=[ \t]*[(\[][ \t]*([\w.]+)[ \t]*,[ \t]*([\w.]+)[ \t]*[)\]]")
_OPERAND = r"[A-Za-z_][\w.]*(?:\[\w+\])?"
_LIST = re.compile(rf"\[[ \t]*({_OPERAND}(?:[ \t]*,[ \t]*{_OPERAND})+)[ \t]*\]")


def explain(here: Here) -> Diagnostic | None:
    """N0001 for a habit of another language; None if the mistake is no such thing."""
    return next((found for habit in _HABITS if (found := habit(here)) is not None), None)


# --- types, and names of another form -----------------------------------------------------------------


def annotation_of(here: Here) -> Diagnostic | None:
    """`dim: int = 8`"""
    if here.mistake.kind != UNREADABLE or (
        here.line.enclosing is None and here.statement not in ("flow", "param")
    ):
        return None
    found = _ANNOTATION.match(here.text, here.mistake.start)
    if found is None or not (found[1] in _TYPES or here.text.startswith("=", found.end())):
        return None
    span = here.span(found.start(), found.start() + len(found.group().rstrip()))
    return syntax("nothing has a type here", span, "remove it: what a parameter is follows from its value")


def _type_before_name(here: Here) -> Diagnostic | None:
    """`int dim = 8`"""
    if here.mistake.kind != "NAME" or here.line.before not in _TYPES or here.line.enclosing is None:
        return None
    span = here.span(here.before_start, here.mistake.start)
    return syntax("nothing has a type here", span, "remove it: what a parameter is follows from its value")


def _dashed_name(here: Here) -> Diagnostic | None:
    """`flow my-flow = in`"""
    if here.mistake.text != "-" or not {"EQUAL", "LBRACE"} & {*here.accepts}:
        return None
    found = _DASHED.match(here.text, here.before_start)
    if found is None:
        return None
    hint = f"write `{found.group().replace('-', '_')}`"
    return syntax("`-` cannot stand in a name", here.span(*found.span()), hint)


def _quoted_name(here: Here) -> Diagnostic | None:
    """`flow "out" = in`"""
    name = here.mistake.text[1:-1]
    if here.mistake.kind != "STRING" or "NAME" not in here.accepts or "STRING" in here.accepts:
        return None
    if not WORD.fullmatch(name):
        return None
    span = here.span(here.mistake.start, here.mistake.end)
    return syntax("a name stands without quotation marks", span, f"write `{name}`")


def _parameters_of_flow(here: Here) -> Diagnostic | None:
    """`flow f(x) = x`"""
    if here.mistake.kind != "LPAR" or here.statement != "flow" or "EQUAL" not in here.accepts:
        return None
    closing = here.text.find(")", here.mistake.start, line_end(here.text, here.mistake.start))
    span = here.span(here.mistake.start, closing + 1 if closing > 0 else here.mistake.end)
    return syntax(
        "a flow takes no arguments", span, "remove it: a part that is used with several flows is a `block`"
    )


# --- `=` and `:` where the language has none ------------------------------------------------------------


def _equal(here: Here) -> Diagnostic | None:
    """`objective = cross_entropy`, `every: 4 steps`, `chunk = 4`"""
    start, word = here.mistake.start, here.line.before
    is_keyword = word == here.statement and word in _WITHOUT_EQUAL
    if here.place is Place.PROGRAM or here.text[start : start + 1] not in ("=", ":"):
        return None
    if not (is_keyword or (word == "chunk" and here.statement == "every")):
        return None
    if here.text.startswith(":", start) and word in ("default", "train"):
        return None
    what = "a statement" if word in ("input", "default", "train") else "a clause"
    rest = _rest_of_clause(here, start + 1)
    message = f"{what} has no `{here.text[start]}`: `{word}` stands right before what it says"
    settings = _SETTINGS.fullmatch(rest) if rest.startswith("{") else None
    written = [f"{word} {rest}"]
    if word == "chunk":
        written = [f", chunk {rest}"]
    elif word == "frozen":
        written = ["frozen"]
    elif word == "every" and re.fullmatch(r"\w+", rest):
        written = [f"every {rest} steps", f"every {rest} tokens"]
    elif word == "optimizer" and settings:
        written = [f"optimizer adamw({_arguments(rest)})"]
    hint = "write " + " or ".join(f"`{code(one.rstrip())}`" for one in written)
    return syntax(message, here.span(start, start + 1), hint)


def _rest_of_clause(here: Here, start: int) -> str:
    """What the clause at hand says, on one line: up to the next clause on its line."""
    rest = here.text[start : max(start, min(here.line.last_end, line_end(here.text, start)))]
    if here.place is Place.CLAUSES and not rest.lstrip().startswith("{"):
        rest = re.split(rf"\s(?=(?:{_KEYWORDS})\b)", rest, maxsplit=1)[0]
    return " ".join(rest.split())


# --- clauses --------------------------------------------------------------------------------------------


def _pair(here: Here) -> Diagnostic | None:
    """`learn k, v`, `learn (k, v)`, `learn k: v`, `learn k to v`"""
    if here.statement != "learn" or here.place is not Place.CLAUSES:
        return None
    begin = here.first + len("learn")
    begin += len(here.text[begin:]) - len(here.text[begin:].lstrip(" \t"))
    reverse = _REVERSED.match(here.text, begin)
    found = reverse or _IN_PARENTHESES.match(here.text, begin) or _SIDE_BY_SIDE.match(here.text, begin)
    if found is None or not found.start() < here.mistake.start < found.end():
        return None
    space = " " * (here.text[begin - 1] == "n")
    key, value = found.group(2, 1) if reverse else found.group(1, 2)
    return syntax(
        "a memory learns a value for each key: `->` stands between them",
        here.span(*found.span()),
        f"write `{space}{key} -> {value}`",
    )


def _chunk(here: Here) -> Diagnostic | None:
    """`learn k -> v  chunk 8`: a chunk belongs to `every`."""
    if here.place is not Place.CLAUSES:
        return None
    found = _CHUNK.match(here.text, here.mistake.start)
    if found is None:
        return None
    size, span = found[1] or found[2], here.span(*found.span())
    if "COMMA" in here.accepts:
        return syntax("missing `,` before `chunk`", span, f"write `, chunk {size}`")
    if here.line.before == "," and "CHUNK" in here.accepts:
        return syntax(
            f"expected `chunk` after `,`, found {quote(here.mistake.text)}", span, f"write `chunk {size}`"
        )
    return syntax("`chunk` belongs to a period", span, f"write `every 1 token, chunk {size}`")


def _settings(here: Here) -> Diagnostic | None:
    """`optimizer adamw lr = 1e-3`, `optimizer adamw { lr = 1e-3 }`, `model m dim = 8 {`"""
    if here.mistake.text == "(" or not ("LPAR" in here.accepts or here.mistake.text == "{"):
        return None
    if here.place is Place.PROGRAM:
        if here.statement not in ("block", "model", "optimizer") or here.mistake.kind != "NAME":
            return None
    elif here.statement != "optimizer" or here.place is not Place.CLAUSES:
        return None
    found = _SETTINGS.match(here.text, here.mistake.start)
    if found is None or found[1] in CLAUSE_WORDS or not WORD.fullmatch(here.line.before):
        return None
    end = found.end()
    following = re.search(rf"[ \t,]+(?:{_KEYWORDS})\b", found.group())
    if following:
        end = found.start() + following.start()
    arguments = _arguments(here.text[found.start() : end])
    span = here.span(here.before_start, end)
    return syntax("arguments stand in parentheses", span, f"write `{here.line.before}({arguments})`")


def _arguments(text: str) -> str:
    return ", ".join(f"{name} = {value}" for name, value in re.findall(_SETTING, text))


def _period_in_parentheses(here: Here) -> Diagnostic | None:
    """`every(4 steps)`"""
    found = re.compile(r"every[ \t]*\([ \t]*(\w+)[ \t]+([A-Za-z]+)[ \t]*\)").match(here.text, here.first)
    if found is None or here.place is not Place.CLAUSES:
        return None
    message = "a period stands without parentheses"
    return syntax(message, here.span(*found.span()), f"write `every {found[1]} {found[2]}`")


def _keyword_as_value(here: Here) -> Diagnostic | None:
    """`learn k ->  every 1 token`: what follows an operator is read as a part of the expression."""
    if here.place is not Place.CLAUSES or here.line.before not in CLAUSE_WORDS:
        return None
    operator = re.search(r"(->|\*\*|[-+*/])[ \t]*$", here.text[here.first : here.before_start])
    if operator is None:
        return None
    start = here.first + operator.start()
    sign = operator[1]
    span = here.span(start, start + len(sign))
    return syntax(f"expected an expression after `{sign}`", span, f"write it, or remove the `{sign}`")


def _truth_of_frozen(here: Here) -> Diagnostic | None:
    """`frozen true`"""
    if here.line.before != "frozen" or here.mistake.kind not in ("TRUE", "FALSE"):
        return None
    hint = "remove it: `frozen` stands alone"
    return syntax("`frozen` has no value", here.span(here.mistake.start, here.mistake.end), hint)


def _clauses_without_braces(here: Here) -> Diagnostic | None:
    """`level a = linear every 4 steps`"""
    if here.statement != "level" or "LBRACE" not in here.accepts or here.line.enclosing is not None:
        return None
    found = re.compile(rf",?[ \t]*(?=({_KEYWORDS})\b)").match(here.text, here.mistake.start)
    if found is None:
        return None
    end = line_end(here.text, here.mistake.start)
    clauses = here.text[found.end() : end].split("#")[0].rstrip()
    if not clauses or "{" in clauses or "}" in clauses:
        return None
    span = here.span(here.mistake.start, found.end() + len(clauses))
    return syntax("the clauses of a level stand in `{ }`", span, f"write `{{ {code(clauses)} }}`")


# --- calls ----------------------------------------------------------------------------------------------


def _named_pair(here: Here) -> Diagnostic | None:
    """`adamw(lr 1e-3)`, `model m(dim 8)`"""
    if here.line.enclosing is None or here.mistake.kind != "NUMBER" or not WORD.fullmatch(here.line.before):
        return None
    name, value = here.line.before, here.mistake.text
    span = here.span(here.before_start, here.mistake.end)
    if here.place is Place.PROGRAM:
        return syntax("missing `=` between a parameter and its value", span, f"write `{name} = {value}`")
    message = f"missing `=` or `,` between `{name}` and `{value}`"
    return syntax(message, span, f"write `{name} = {value}` or `{name}, {value}`")


def _point_first(here: Here) -> Diagnostic | None:
    """`.5`"""
    found = re.compile(r"\.[0-9]+(?:[eE][+-]?[0-9]+)?").match(here.text, here.mistake.start)
    if found is None or "NUMBER" not in here.accepts:
        return None
    message = f"expected an expression after {quote(here.line.before)}, found `.`"
    return syntax(
        message, here.span(*found.span()), f"write `0{found.group()}`: a number begins with a digit"
    )


def _two_values(here: Here) -> Diagnostic | None:
    """`adamw(betas = (0.9, 0.999))`"""
    if here.line.enclosing is None:
        return None
    for found in _TWO_VALUES.finditer(here.text, here.text.rfind("\n", 0, here.mistake.start) + 1):
        if found.start() < here.mistake.start < found.end():
            hint = f"write `{found[1]}1 = {found[2]}, {found[1]}2 = {found[3]}`"
            return syntax("an argument has one value", here.span(*found.span()), hint)
    return None


def _other_brackets(here: Here) -> Diagnostic | None:
    """`linear{8}`, `linear<8>`, `model m[dim = 8] {`"""
    opening = here.mistake.start
    if here.is_first and here.place is Place.CLAUSES and here.mistake.kind == "NUMBER":
        opening = here.brace
    found = _BRACKETS.match(here.text, max(0, opening))
    if found is None or not re.match(r"\w", here.text[max(0, opening - 1) : opening]):
        return None
    if here.statement not in ("block", "model", "optimizer", "level", "flow", "") and opening != here.brace:
        return None
    if opening != here.brace and here.line.before != "" and "LPAR" not in here.accepts:
        return None
    span = here.span(*found.span())
    return syntax("arguments stand in parentheses", span, f"write `({found[1]})`")


def _count_of_array(here: Here) -> Diagnostic | None:
    """`level a(2) = linear`"""
    if here.mistake.kind != "LPAR" or here.statement != "level" or "LSQB" not in here.accepts:
        return None
    found = re.compile(r"\([ \t]*(\w+)[ \t]*\)").match(here.text, here.mistake.start)
    if found is None:
        return None
    hint = f"write `[{found[1]}]`"
    return syntax("how many levels there are stands in `[ ]`", here.span(*found.span()), hint)


def _copies(here: Here) -> Diagnostic | None:
    """`level a = linear x 3`"""
    if here.statement != "level" or "REPEAT" not in here.accepts or here.line.enclosing is not None:
        return None
    found = _COPIES.match(here.text, here.mistake.start)
    if found is None:
        return None
    hint = f"write `repeat {found[1]}`"
    return syntax("copies in a row are written with `repeat`", here.span(*found.span()), hint)


def _without_parentheses(here: Here) -> Diagnostic | None:
    """`linear 256`"""
    if here.line.enclosing is not None or not WORD.fullmatch(here.line.before):
        return None
    if "LPAR" not in here.accepts and not (here.mistake.kind == "NAME" and here.statement == "flow"):
        return None
    if here.mistake.kind not in ("NUMBER", "NAME", "STRING") or here.mistake.text in _WITHOUT_EQUAL:
        return None
    is_word = here.mistake.kind == "NAME"
    if is_word and not re.match(r"[ \t]*(?:$|[#\n}]|->)", here.text[here.mistake.end :]):
        return None  # more than a flow that a level or function reads
    if is_word and (
        here.mistake.text in STATEMENT_WORDS or here.statement in ("level", "optimizer", "objective", "only")
    ):
        return None
    following = here.text[here.mistake.end : here.mistake.end + 1]
    if here.line.before in _WITHOUT_EQUAL or here.line.before_end == here.mistake.start or following == "(":
        return None
    span = here.span(here.before_start, here.mistake.end)
    call = f"{here.line.before}({here.mistake.text})"
    begins_flow = here.statement == "flow" and here.text[: here.before_start].rstrip().endswith("=")
    if begins_flow and not is_word:
        call = f"in -> {call}"  # a number is no flow: this is a level or a function of one
    return syntax("arguments stand in parentheses", span, f"write `{call}`")


# --- what the language does not have ----------------------------------------------------------------------


def _condition(here: Here) -> Diagnostic | None:
    """`if x > 0 then 1 else -1`, `x and y`"""
    if here.statement not in ("flow", "param", "learn") or here.is_first:
        return None
    for word, start in ((here.line.before, here.before_start), (here.mistake.text, here.mistake.start)):
        if word in _CONDITIONS:
            return syntax(f"`{word}` has no meaning here", here.span(start, start + len(word)), _CHOICES)
    return None


def _word_of_code(here: Here) -> Diagnostic | None:
    """`flow out = return x`"""
    if here.line.before not in ("return", "await", "new", "yield") or here.statement != "flow":
        return None
    return syntax(
        f"`{here.line.before}` has no meaning here",
        here.span(here.before_start, here.mistake.start),
        "remove it",
    )


def _several_flows(here: Here) -> Diagnostic | None:
    """`flow a, b = x, y`"""
    if here.mistake.kind != "COMMA" or here.statement != "flow" or "EQUAL" not in here.accepts:
        return None
    span = here.span(here.mistake.start, here.mistake.end)
    return syntax("`flow` declares one flow", span, "declare each on a line of its own")


def _function(here: Here) -> Diagnostic | None:
    """`lambda x: x`"""
    if here.line.before != "lambda":
        return None
    span = here.span(here.before_start, here.line.before_end)
    return syntax("a flow is no function", span, "a part of your own, with `in` and `out`, is a `block`")


def _product(here: Here) -> Diagnostic | None:
    """`a @ b`"""
    if here.mistake.kind != UNREADABLE or here.text[here.mistake.start] != "@" or here.statement != "flow":
        return None
    line = here.text[: line_end(here.text, here.mistake.start)]
    left = re.search(rf"{_OPERAND}$", here.text[: here.mistake.start].rstrip())
    right = re.compile(rf"@[ \t]*({_OPERAND})").match(line, here.mistake.start)
    span = here.span(here.mistake.start, here.mistake.start + 1)
    if here.owner != "optimizer" or left is None or right is None:
        hint = (
            "a level holds the matrix that a flow is multiplied by, `x -> linear`, or learns it, "
            "`level m = matrix { learn key -> value }`"
        )
        return syntax("flows are not multiplied as matrices", span, hint)
    # Of two alike only the transpose fits.
    second = f"{right[1]}.T" if right[1] == left.group() else right[1]
    factors = (re.sub(r"(.*)\.T$", r"transpose(\1)", one) for one in (left.group(), second))
    return syntax(
        "the matrix product is a function",
        here.span(left.start(), right.end()),
        f"write `matmul({', '.join(factors)})`",
    )


def _list(here: Here) -> Diagnostic | None:
    """`[x, y]`"""
    if here.mistake.kind != "LSQB" or "NUMBER" not in here.accepts:
        return None
    found = _LIST.match(here.text, here.mistake.start)
    if found is None or here.owner == "optimizer" or here.statement != "flow":
        return syntax(
            "there are no lists",
            here.span(here.mistake.start, here.mistake.end),
            "several levels are an array, `level name[3] = kind`, and `concat(a, b)` puts flows side by side",
        )
    if here.line.before == "->":
        hint = "several levels that read the same are an array: `-> parallel(name)` adds their results"
        return syntax("there are no lists", here.span(*found.span()), hint)
    is_argument = here.text[: found.start()].rstrip().endswith("(")
    flows = found[1] if is_argument else f"concat({found[1]})"
    return syntax("there are no lists", here.span(*found.span()), f"write `{flows}`")


def _named_input(here: Here) -> Diagnostic | None:
    """`input x = vectors(8)`, `input vectors(8) as x`"""
    if here.statement != "input" or here.place is not Place.BODY:
        return None
    if here.mistake.kind == "EQUAL" and WORD.fullmatch(here.line.before) and here.line.before != "input":
        span = here.span(here.before_start, here.mistake.end)
    elif here.mistake.text in ("as", "named"):
        span = here.span(here.mistake.start, max(here.mistake.end, here.line.last_end))
    else:
        return None
    return syntax("an input has no name of its own", span, "remove it: the input is read as `in`")


_HABITS: tuple[Callable[[Here], Diagnostic | None], ...] = (
    prefix,
    annotation_of,
    _type_before_name,
    _equal,
    _pair,
    _chunk,
    foreign_operator,
    _dashed_name,
    _quoted_name,
    _parameters_of_flow,
    _named_input,
    _settings,
    _period_in_parentheses,
    _keyword_as_value,
    _truth_of_frozen,
    _clauses_without_braces,
    _named_pair,
    _point_first,
    _two_values,
    _other_brackets,
    _count_of_array,
    _copies,
    _condition,
    _word_of_code,
    _several_flows,
    _function,
    _product,
    _list,
    _without_parentheses,
)
