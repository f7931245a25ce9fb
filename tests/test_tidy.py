"""The style guide as a test: sizes, names, purity and arithmetic of the source (docs/style.md).

Every rule reads the syntax tree of each file and lists all violations at once, as
``file:line: what is wrong``. What a linter already checks (line length, complexity, imports) is not
repeated here.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "primitives",
    "ml_runtime",
    "incentives",
    "ledger",
    "consensus",
    "p2p",
    "node",
    "quorate",
)
PURE_PACKAGES = ("primitives", "ml_runtime", "incentives", "ledger", "consensus", "p2p")
INTEGER_PACKAGES = ("primitives", "incentives", "ledger", "consensus")
SCRIPT_FOLDERS = ("tests", "benchmarks", "examples", "requirements", "deploy")

SOCKET_FILES = (Path("p2p/tcp.py"), Path("p2p/tls.py"))
# Client side: turns measurements into the integers that the network speaks.
ML_FLOAT_FILES = (
    Path("ml_runtime/exact_products.py"),  # integers below 2^53, where a float64 is exact
    Path("ml_runtime/encoders/embedding.py"),
    Path("ml_runtime/encoders/rounding.py"),
    Path("ml_runtime/encoders/standardise.py"),
)

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
POSITIONAL_PARAMETERS_MAX = 6
PUBLIC_METHODS_MAX = 20

MEANINGLESS_NAMES = {"base", "common", "misc", "stuff"}
MEANINGLESS_WORDS = {"util", "utils", "helper", "helpers", "manager", "handler", "handlers"}
FLOAT_NAMES = {"float", "complex"}
FLOAT_ATTRIBUTES = {"float16", "float32", "float64", "longdouble", "true_divide", "inf", "nan"}
INTEGER_MATH = {"ceil", "comb", "factorial", "floor", "gcd", "isqrt", "lcm", "perm", "prod"}
IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}
# Written so that the words themselves do not stand in a source file.
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|NotImplemented[E]rror|mark\.(?:skip|x[f]ail))\b")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """One parsed file, by its path from the root of the repository."""

    path: Path
    text: str
    tree: ast.Module

    def at(self, node: ast.AST, complaint: str) -> str:
        """Say where and what, in the form that terminals and editors link."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {complaint}"


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Parse every Python file below the folders, in a stable order."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            found.append(Source(path.relative_to(ROOT), text, ast.parse(text)))
    return tuple(found)


def everything() -> tuple[Source, ...]:
    return sources(*PACKAGES, *SCRIPT_FOLDERS)


def functions(tree: ast.AST) -> Iterator[FunctionNode]:
    return (node for node in ast.walk(tree) if isinstance(node, FunctionNode))


def code_lines(function: FunctionNode) -> int:
    """Count the lines of a function, its docstring and decorators left out."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def float_uses(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Find what can make a float: literals, true division, conversions, dtypes, the math module."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex() as value):
                yield node, f"the literal {value}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node, "true division"
            case ast.Name(id=name) if name in FLOAT_NAMES:
                yield node, name
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if name not in INTEGER_MATH:
                yield node, f"math.{name}"
            case ast.Attribute(attr=name) if name in FLOAT_ATTRIBUTES:
                yield node, name


def bound_names(tree: ast.Module) -> set[str]:
    """Collect the names that a module binds at its top level."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            case _:
                names.update(
                    part.id
                    for part in ast.walk(node)
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
                )
    return names


def exported_names(tree: ast.Module) -> list[str]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple()):
                return list(ast.literal_eval(node.value))
    return []


def report(complaints: list[str]) -> None:
    assert not complaints, "\n" + "\n".join(complaints)


def test_every_package_is_present_and_typed() -> None:
    missing = [
        f"{package}/{name}"
        for package in PACKAGES
        for name in ("__init__.py", "py.typed")
        if not (ROOT / package / name).is_file()
    ]
    assert missing == []


def test_files_stay_short() -> None:
    report(
        [
            f"{source.path}:1: {lines} lines, at most {FILE_LINES_MAX}"
            for source in everything()
            if (lines := len(source.text.splitlines())) > FILE_LINES_MAX
        ]
    )


def test_functions_stay_short() -> None:
    report(
        [
            source.at(node, f"{node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}")
            for source in everything()
            for node in functions(source.tree)
            if (lines := code_lines(node)) > FUNCTION_LINES_MAX
        ]
    )


def test_parameters_beyond_six_are_keyword_only() -> None:
    complaints = []
    for source in everything():
        for node in functions(source.tree):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
            count = len([name for name in names if name not in {"self", "cls"}])
            # A compiled kernel knows no keyword-only parameters, nor may its plain twin differ.
            if count > POSITIONAL_PARAMETERS_MAX and "kernels" not in source.path.parts:
                complaints.append(source.at(node, f"{node.name} has {count} positional parameters"))
    report(complaints)


def test_classes_have_few_public_methods() -> None:
    complaints = []
    for source in everything():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                methods = [m for m in node.body if isinstance(m, FunctionNode)]
                count = len([m for m in methods if not m.name.startswith("_")])
                if count > PUBLIC_METHODS_MAX:
                    complaints.append(source.at(node, f"{node.name} has {count} public methods"))
    report(complaints)


def test_every_module_says_what_it_is_for() -> None:
    """Tests may leave it out: they are named after what they test."""
    report(
        [
            f"{source.path}:1: no module docstring"
            for source in everything()
            if not source.path.name.startswith("test_") and not ast.get_docstring(source.tree)
        ]
    )


def test_names_of_files_say_something() -> None:
    complaints = []
    for source in sources(*PACKAGES):
        for part in source.path.with_suffix("").parts:
            if part in MEANINGLESS_NAMES or MEANINGLESS_WORDS & set(part.split("_")):
                complaints.append(f"{source.path}:1: '{part}' does not say what is inside")
    report(complaints)


def test_exported_names_exist() -> None:
    report(
        [
            f"{source.path}:1: __all__ names {name}, which the module does not define"
            for source in sources(*PACKAGES)
            for name in exported_names(source.tree)
            if name not in bound_names(source.tree)
        ]
    )


def test_test_folders_are_not_packages() -> None:
    """A package below tests/ named like one of ours would hide ours from the tests."""
    assert [s.path for s in sources("tests") if s.path.name == "__init__.py"] == []


def test_nothing_is_left_unfinished() -> None:
    report(
        [
            f"{source.path}:{number}: {found.group()}"
            for source in everything()
            for number, line in enumerate(source.text.splitlines(), start=1)
            if (found := UNFINISHED.search(line))
        ]
    )


def test_replicated_arithmetic_has_no_floats() -> None:
    """Validators must agree bit for bit; rounding, libraries and processors differ."""
    checked = [s for s in sources(*INTEGER_PACKAGES, "ml_runtime") if s.path not in ML_FLOAT_FILES]
    report([s.at(node, f"float: {use}") for s in checked for node, use in float_uses(s.tree)])


def test_pure_packages_do_not_touch_the_world() -> None:
    """What import contracts cannot see: built-in functions with effects, numpy.random."""
    complaints = []
    for source in sources(*PURE_PACKAGES):
        if source.path in SOCKET_FILES:
            continue
        for node in ast.walk(source.tree):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                    complaints.append(source.at(node, f"{name}() in a pure package"))
                case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today" as name)):
                    complaints.append(source.at(node, f"{name}() in a pure package"))
                case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"):
                    complaints.append(source.at(node, "numpy.random in a pure package"))
    report(complaints)


def test_pure_packages_do_not_iterate_over_sets() -> None:
    """The order of a set differs between processes; sorted(...) says which order is meant."""
    complaints = []
    for source in sources(*PURE_PACKAGES):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.For | ast.comprehension):
                match node.iter:
                    case (
                        ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset"))
                    ):
                        complaints.append(source.at(node.iter, "iteration over a set"))
    report(complaints)
