"""Data flows one way through the packages, and nothing heavy is imported behind the user's back."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mixcon3d_jax"

# Stages in the order in which data flows; a module imports from its own stage and earlier ones.
STAGES = (
    ("errors", "buckets", "files", "progress", "host_memory", "arguments", "extras", "workers"),
    ("distributed",),
    ("sharding",),
    ("assets",),
    ("data",),
    ("models",),
    ("losses", "metrics"),
    ("training",),
    ("evaluation",),
    ("exchange",),
    ("inference",),
    ("reporting",),
    ("web",),
    ("planning",),
    ("commands",),
    (
        "train",
        "evaluate",
        "report",
        "plan",
        "embed",
        "classify",
        "retrieve",
        "probe",
        "demo",
        "export",
        "import_torch",
        "inspect",
    ),
)
STAGE_OF = {name: number for number, names in enumerate(STAGES) for name in names}
ENTRY_POINTS = STAGES[-1]


def imported_names(path: Path) -> set[str]:
    """Full names of the modules that a file imports from, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` names a module, too.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stage_name(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "mixcon3d_jax" and len(parts) > 1 else None


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_stage_and_earlier_ones(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in STAGE_OF, f"{own} has no place in STAGES"
    for dotted in imported_names(path):
        other = stage_name(dotted)
        assert not dotted.startswith(("data_prep", "configs", "tests")), f"{path} imports {dotted}"
        if other is None:
            continue
        assert other in STAGE_OF, f"{path} imports {dotted}"
        assert STAGE_OF[other] <= STAGE_OF[own], f"{path} imports {dotted} of a later stage"
        assert other == own or other not in ENTRY_POINTS, f"{path} imports an entry point"


# What needs the extra `demo`, which the tests in `browser/` have.
WITH_GRADIO = ("mixcon3d_jax.web.page", "mixcon3d_jax.web.server")
MODULE_NAMES = [
    "mixcon3d_jax." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in MODULES
    if path.stem != "__init__" and not (path.parent == PACKAGE and path.stem in ENTRY_POINTS)
]
LIBRARY = [name for name in MODULE_NAMES if name not in WITH_GRADIO]


# Entry points define flags of the same names, so each has a process of its own.
@pytest.mark.parametrize("modules", [LIBRARY, *([f"mixcon3d_jax.{name}"] for name in ENTRY_POINTS)])
def test_torch_and_tensorflow_are_not_imported(modules):
    program = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
print(sorted({{"torch", "tensorflow"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
