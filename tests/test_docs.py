"""The README and the pages of docs/ name only what exists: links, commands, flags, configs."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
MODULE = re.compile(r"python -m ([\w.]*\w)")
FLAG = re.compile(r"(?<!\S)(--[a-z][a-z0-9-]*)")
CONFIG = re.compile(r"\bconfigs/\w+\.py\b")
PLACEHOLDER = re.compile(r"@[A-Z]+@")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names under which headings are linked to: small letters, no punctuation, hyphens."""
    headings = HEADING.findall(without_code(page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    dead = []
    for link in LINK.findall(without_code(page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Modules run by `python -m MODULE ...`, each with its flags, over continued lines."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"(?=python -m )", line.replace("`", " ` ")):
            if match := MODULE.match(part):
                # A command in running text ends with its backtick.
                found.append((match[1], FLAG.findall(part.split("`")[0])))
    return found


@cache
def help_of(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The training commands' own flags are config keys, which they check themselves.
USES = ("embed", "classify", "retrieve", "probe", "demo")
WITH_FLAGS = ("data_prep.", *(f"mixcon3d_jax.{name}" for name in USES))


def unknown_flags(text: str) -> list[str]:
    """Flags of commands that their `--help` does not list."""
    return [
        f"{module} {flag}"
        for module, flags in commands(text)
        if module.startswith(WITH_FLAGS)
        for flag in flags
        if flag not in FLAG.findall(re.sub(r"[\[\],=|]", " ", help_of(module)))
    ]


@pages
def test_relative_links_lead_somewhere(page):
    assert dead_links(page) == []


@pages
def test_no_placeholder_is_left(page):
    assert PLACEHOLDER.findall(page.read_text()) == []


@pages
def test_modules_that_commands_name_exist(page):
    modules = {module for module, _ in commands(page.read_text())}
    assert sorted(name for name in modules if importlib.util.find_spec(name) is None) == []


@pages
def test_flags_of_commands_exist(page):
    assert unknown_flags(page.read_text()) == []


@pages
def test_configs_that_pages_name_exist(page):
    named = set(CONFIG.findall(page.read_text()))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_what_is_wrong_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A page\n[a](b.md) [c](#a-page) [d](#no-such) [e](page.md#a-page)\n")
    assert dead_links(page) == ["b.md", "#no-such"]
    text = "Say `python -m a.b --c=1` or\npython -m data_prep.assets --manifest=x \\\n --no-such=2"
    assert commands(text) == [("a.b", ["--c"]), ("data_prep.assets", ["--manifest", "--no-such"])]
    assert unknown_flags(text) == ["data_prep.assets --no-such"]


@pytest.mark.parametrize(
    "command",
    [
        "make smoke",
        "make test",
        "python -m data_prep.assets",
        "python -m mixcon3d_jax.train",
        "python -m mixcon3d_jax.evaluate",
        "python -m mixcon3d_jax.embed",
        "python -m mixcon3d_jax.classify",
        "python -m mixcon3d_jax.retrieve",
        "python -m mixcon3d_jax.probe",
        "python -m mixcon3d_jax.report",
        "python -m mixcon3d_jax.export",
        "python -m mixcon3d_jax.import_torch",
        "python -m mixcon3d_jax.inspect",
        "python -m data_prep.download",
        "python -m data_prep.openshape",
        "python -m data_prep.splits",
        "python -m data_prep.benchmarks",
    ],
)
def test_the_readme_shows_every_command_of_a_user(command):
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert any(command in block for block in blocks)
