import ast
import collections
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("gan_transfer", "restoration")
FORBIDDEN = {
    "gan_transfer": {"restoration", "experiments", "absl", "tests"},
    "restoration": {"experiments", "absl", "tests"},
    "experiments": {"tests"},
}
MAY_DRAW = ("experiments/support/", "gan_transfer/glyphs.py")
MAX_LINES = 320


def modules(*folders):
    return sorted(path for name in folders for path in (ROOT / name).rglob("*.py"))


def flagfiles():
    return sorted((ROOT / "experiments" / "flags").glob("*/*.flags"))


def read(path):
    return path.read_text(encoding="utf-8")


def relative(path):
    return path.relative_to(ROOT).as_posix()


def imported(source):
    """Top-level names of everything a source imports, at any depth of nesting."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def make_target(path):
    script, configuration = path.parent.name, path.stem
    parts = [script] if configuration == "default" else [script, configuration]
    return "-".join(parts).replace("_", "-")


def test_imported_finds_nested_and_dotted_imports_but_not_relative_ones():
    source = "import a.b, c\ndef f():\n  from d.e import g\nfrom . import h"
    assert imported(source) == {"a", "c", "d"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package):
    found = modules(package)
    wrong = {relative(p): imported(read(p)) & FORBIDDEN[package] for p in found}
    assert found
    assert {path: names for path, names in wrong.items() if names} == {}


def test_matplotlib_is_imported_only_where_pictures_are_drawn():
    users = [
        relative(path)
        for path in modules(*PACKAGES, "experiments")
        if "matplotlib" in imported(read(path))
    ]
    assert users
    assert [path for path in users if not path.startswith(MAY_DRAW)] == []


def test_every_package_module_names_its_document_section():
    without = []
    for path in modules(*PACKAGES):
        docstring = ast.get_docstring(ast.parse(read(path))) or ""
        first_line = docstring.partition("\n")[0]
        if not re.search(r"\bdocuments? [A-E]\b", first_line):
            without.append(relative(path))
    assert without == []


def test_no_module_holds_two_concepts():
    lines = {
        relative(path): len(read(path).splitlines())
        for path in modules(*PACKAGES, "experiments", "tests")
    }
    assert {path: n for path, n in lines.items() if n > MAX_LINES} == {}


def test_every_flagfile_belongs_to_a_script():
    files = flagfiles()
    assert files
    orphans = [
        relative(path)
        for path in files
        if not (ROOT / "experiments" / f"{path.parent.name}.py").is_file()
    ]
    assert orphans == []


def test_every_flagfile_says_what_it_is_and_has_one_flag_a_line():
    # absl takes a comment behind a flag into its value, and a line without dashes
    # for a positional argument.
    files = flagfiles()
    assert files
    wrong = []
    for path in files:
        first, *rest = read(path).splitlines()
        if not re.match(r"# *\S", first):
            wrong.append(f"{relative(path)}: first line")
        for line in rest:
            if line and not re.fullmatch(r"#.*|--\w+(=\S.*)?", line):
                wrong.append(f"{relative(path)}: {line}")
            elif line.startswith("--") and " #" in line:
                wrong.append(f"{relative(path)}: {line}")
    assert wrong == []


def test_every_flagfile_has_a_make_target_of_its_own():
    makefile = read(ROOT / "Makefile")
    targets = re.findall(r"^([a-z][a-z-]*):.*##", makefile, flags=re.MULTILINE)
    targets += [make_target(path) for path in flagfiles()]
    counts = collections.Counter(targets)
    assert {"help", "test", "lint"} <= set(targets)
    assert [target for target, count in counts.items() if count > 1] == []


def test_readme_table_of_sections_matches_the_modules():
    rows = [
        line for line in read(ROOT / "README.md").splitlines() if line.startswith("|")
    ]
    named = set(
        re.findall(r"`((?:gan_transfer|restoration)/[\w/]+\.py)`", "\n".join(rows))
    )
    present = {
        relative(path) for path in modules(*PACKAGES) if path.name != "__init__.py"
    }
    assert named == present
