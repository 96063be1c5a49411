"""Words that begin a line in other languages, and what begins it here: `class`, `import`, `loss`, `lr`."""

from __future__ import annotations

import re

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.lines import CLAUSE_WORDS, DECLARATION_WORDS, STATEMENT_WORDS, Place, line_end
from nestdsl.syntax.mistakes import WORD, Here, syntax
from nestdsl.syntax.wording import code, nearest, quote

_ASSIGNMENT = re.compile(
    r"(?:[A-Za-z_]\w*[ \t]+|self\.)?([A-Za-z_]\w*)[ \t]*(?::[ \t]*[A-Za-z_][\w.]*[ \t]*)?"
    r"(?:\+=|-=|\*=|/=|:=|=(?![=>]))[ \t]*"
)
_VALUE = re.compile(r"([A-Za-z_]\w*+)[ \t]*+(?:[=:][ \t]*+)?(\d[\w.]*+(?:(?<=[eE])[+-]\d++)?|[A-Za-z_]\w*+)")
_READ = re.compile(r"([A-Za-z_]\w*)\([ \t]*([A-Za-z_]\w*)[ \t]*(?:,([^()]*))?\)")
_LIBRARY = re.compile(r"(?:import|from|include|require)[ \t]+std(?:[.:]+|[ \t]+import[ \t]+)(\w+)")

_DECLARATIONS = {
    "class": ("model", "block"),
    "def": ("block", "model"),
    "fn": ("block", "model"),
    "func": ("block", "model"),
    "function": ("block", "model"),
    "struct": ("block", "model"),
    "module": ("model", "block"),
    "network": ("model", "block"),
    "net": ("model", "block"),
    "layer": ("block",),
}
_IMPORTS = frozenset(("import", "from", "include", "require"))
_KEYWORDS = frozenset((*DECLARATION_WORDS, *STATEMENT_WORDS, *CLAUSE_WORDS))
_LOOPS = frozenset(("for", "while", "loop", "repeat"))
_BRANCHES = frozenset(("if", "elif", "else", "match", "switch", "case"))
_NOTHING = frozenset(
    ("pass", "print", "assert", "del", "break", "continue", "end", "begin", "import", "from", "super")
)
_CLAUSES = {
    "loss": "objective",
    "criterion": "objective",
    "period": "every",
    "frequency": "every",
    "optim": "optimizer",
    "freeze": "frozen",
    "initialize": "init",
    "initializer": "init",
}
_OF_FROZEN = frozenset(("requires_grad", "trainable"))
_RATES = frozenset(("lr", "learning_rate", "step_size", "rate"))
_OF_RUNS = frozenset(
    (
        "epochs",
        "epoch",
        "steps",
        "batch",
        "batch_size",
        "warmup",
        "grad_clip",
        "clip",
        "seed",
        "tokens",
        "device",
    )
)
_SCHEDULES = frozenset(("scheduler", "schedule", "lr_schedule", "lr_scheduler"))


NAMELESS = frozenset((*_LOOPS, *_BRANCHES, *_NOTHING, "return"))
"""Words that are not followed by the name of what they declare."""


def name_given(text: str, start: int) -> str:
    """The name that a line of another language, such as `x = in -> norm`, seems to declare; or ""."""
    if text.startswith("return", start):
        return "out"
    assignment = _ASSIGNMENT.match(text, start)
    return assignment[1] if assignment else ""


def explain(here: Here) -> Diagnostic | None:
    """N0001 for a first word of another language; None for any other."""
    match here.place:
        case Place.PROGRAM if here.is_first:
            return _declaration(here)
        case Place.BODY if here.is_first:
            return _statement(here)
        case Place.CLAUSES if WORD.fullmatch(here.mistake.text) and here.line.enclosing is None:
            return _clause(here)
    return None


def _message(word: str, what: str) -> str:
    return f"{quote(word)} does not begin {what}"


def _rest_of_line(here: Here) -> str:
    return here.text[here.mistake.start : line_end(here.text, here.mistake.start)].split("#")[0].rstrip()


def _declaration(here: Here) -> Diagnostic | None:
    word, start = here.mistake.text, here.mistake.start
    message, span = _message(word, "a declaration"), here.span(start, here.mistake.end)
    if word in _KEYWORDS:
        return None
    if word in _DECLARATIONS and _names_something(here):
        return syntax(message, span, "write " + " or ".join(f"`{one}`" for one in _DECLARATIONS[word]))
    line = _rest_of_line(here)
    whole = here.span(start, start + len(line))
    library = _LIBRARY.match(line)
    if library:
        return syntax(message, whole, f"write `use std.{library[1]}`")
    if word in _IMPORTS:
        return syntax(
            message, whole, "remove it: `use std.titans` reads a file of the library, and no other language's"
        )
    assignment = _ASSIGNMENT.match(line)
    if assignment and WORD.match(word) and not nearest(word, DECLARATION_WORDS):
        span = here.span(start, start + len(assignment.group().rstrip()))
        return syntax(message, span, f"write `param {assignment[1]} =`")
    return None


def _names_something(here: Here) -> bool:
    following = here.text[here.mistake.end : line_end(here.text, here.mistake.end)]
    return re.match(r"[ \t]+[A-Za-z_]\w*", following) is not None


def _statement(here: Here) -> Diagnostic | None:
    word, start = here.mistake.text, here.mistake.start
    message, span = _message(word, "a statement"), here.span(start, here.mistake.end)
    line = _rest_of_line(here)
    whole = here.span(start, start + len(line))
    if word in _KEYWORDS or not WORD.fullmatch(word):
        return None
    if nearest(word, STATEMENT_WORDS) and not re.match(r"\w+[ \t]*=", line):
        return None  # a slip of the pen
    if word == "return":
        is_update = here.owner == "optimizer"
        return syntax(message, span, f"write `flow {'update' if is_update else 'out'} =`")
    if word in _LOOPS:
        hint = "copies are written `level name = kind repeat 3`, or as an array, `level name[3] = kind`"
        return syntax(message, whole, hint)
    if word in _BRANCHES:
        return syntax(
            message, whole, "there are no conditions: a block for each case, and one of them named in a level"
        )
    if word in _NOTHING:
        return syntax(message, whole, "remove it: a body has declarations, and nothing that is done")
    assignment = _ASSIGNMENT.match(line)
    if assignment:
        value = line[assignment.end() :]
        if assignment.group().rstrip()[-2] in "+-*/":
            name = code(assignment[1])
            hint = f"a flow is computed once: give the result a name of its own, `flow name = {name} ...`"
            return syntax(message, whole, hint)
        call = _READ.fullmatch(value)
        if call and (call[2] == "in" or re.search(rf"\bflow[ \t]+{call[2]}\b", here.text)):
            rest = f"({call[3].strip()})" if call[3] and call[3].strip() else ""
            return syntax(message, whole, f"write `flow {assignment[1]} = {call[2]} -> {call[1]}{rest}`")
        span = here.span(start, start + len(assignment.group().rstrip()))
        is_call = re.fullmatch(r"[A-Za-z_][\w.]*(?:\([^()]*\))?(?:[ \t]*(?:\{|repeat\b).*)?", value)
        forms = ["level", "flow"] if is_call and "(" in value else ["flow"]
        return syntax(message, span, "write " + " or ".join(f"`{form} {assignment[1]} =`" for form in forms))
    if re.match(rf"{word}[ \t]+(?:{'|'.join(STATEMENT_WORDS)})\b", line):
        return syntax(message, here.span(start, here.mistake.end + 1), "remove it")
    if re.match(r"[A-Za-z_]\w*(?:\([^()]*\))?[ \t]*(?:->|[-+*/])", line):
        return syntax(message, whole, f"write `flow name = {code(line)}`, with a name of your own")
    return None


def _clause(here: Here) -> Diagnostic | None:
    word, start = here.mistake.text, here.mistake.start
    is_first = here.is_first
    if not (is_first or "FROZEN" in here.accepts) or word in CLAUSE_WORDS:
        return None
    message = _message(word, "a clause")
    setting = _VALUE.match(here.text, start)
    whole = here.span(start, setting.end() if setting else here.mistake.end)
    sign = re.compile(r"[ \t]*[=:]").match(here.text, here.mistake.end)
    span = here.span(start, sign.end() if sign else here.mistake.end)
    if word == "period" and setting:
        return syntax(message, whole, f"write `every {setting[2]} steps` or `every {setting[2]} tokens`")
    if word in ("freeze", *_OF_FROZEN):
        return syntax(
            message, here.span(start, whole.end if word in _OF_FROZEN else span.end), "write `frozen`"
        )
    if word in _CLAUSES and (setting is None or setting[2] in CLAUSE_WORDS) and not sign:
        return syntax(message, span, "remove it")
    if word in _CLAUSES:
        return syntax(message, span, f"write `{_CLAUSES[word]}`")
    if word == "update" and here.text[here.mistake.end :].lstrip().startswith("every"):
        return syntax(message, span, "remove it")
    if word == "detach":
        return syntax(message, span, "write `gradient stop`")
    if word in _RATES and setting:
        learns = "->" in here.text[here.brace : start] and "learn" in here.text[here.brace : start]
        optimizer = f"gd(step = {setting[2]})" if learns else f"adamw(lr = {setting[2]})"
        return syntax(message, whole, f"write `optimizer {optimizer}`")
    if word == "momentum" and setting:
        return syntax(message, whole, f"write `optimizer momentum(momentum = {setting[2]})`")
    if word in _SCHEDULES:
        return syntax(message, whole, "a schedule is a value: `optimizer adamw(lr = cosine(1e-3))`")
    if word in _OF_RUNS and setting and setting[2][0].isdigit():
        return syntax(message, whole, "remove it: this is said to `nestdsl train`, as in `--steps 100`")
    return None
