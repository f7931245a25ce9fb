"""Documents stay true: links lead somewhere, no file names a machine or a package registry."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FENCE = re.compile(r"^(```|~~~).*?^\1[^\S\n]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")

CITATION = re.compile(r"\bdocs/(?:[\w/-]+\.md|adr/\d{4})")
# Pages by which the work was planned, which a reader of the repository does not have.
FOREIGN_CITATION = re.compile(r"\bD[E]SIGN(?:\.md)? §|\bC[O]NTRACT\.md|\bissue \d+\b")

# Somebody's home or working folder, or the host that one machine happens to install from.
MACHINE_PATH = re.compile(r"(?<![\w.$~/-])/(?:root|home/\w+|Users/\w+|work)/")
REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.[o]rg|pythonhosted\.[o]rg|registry\.npmjs\.[o]rg|(?:deb|security|snapshot)\.debian\.[o]rg"
    r"|archive\.ubuntu\.[c]om|registry-1\.docker\.[i]o|index\.docker\.[i]o)\b"
)
BINARY = {".png", ".svg", ".ico", ".npz", ".woff2"}


@cache
def tracked_files() -> tuple[Path, ...]:
    """List what is in the repository, new files that are not ignored included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in sorted(listed.split("\0")) if name)
    return tuple(path for path in paths if path.is_file() and path.suffix not in BINARY)


def documents() -> Iterator[Path]:
    return (path for path in tracked_files() if path.suffix == ".md")


def prose(path: Path) -> str:
    """Read a document without its code, which is free to look like a link or a heading."""
    return CODE.sub("", FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """Compute the anchors that the common renderers give to a document's headings."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = sum(1 for known in found if known == slug or re.fullmatch(rf"{slug}-\d+", known))
        found.add(f"{slug}-{number}" if number else slug)
    return found


def broken_link(document: Path, target: str) -> str | None:
    """Say what is wrong with a link to another place in the repository, or nothing."""
    name, _, anchor = target.partition("#")
    path = (document.parent / name).resolve() if name else document
    if not path.exists():
        return "no such file"
    if anchor and path.suffix == ".md" and anchor not in anchors(path):
        return "no such heading"
    return None


def test_relative_links_resolve() -> None:
    complaints = [
        f"{document.relative_to(ROOT)}: {target}: {fault}"
        for document in documents()
        for target in LINK.findall(prose(document))
        if not ELSEWHERE.match(target) and (fault := broken_link(document, target))
    ]
    assert not complaints, "\n" + "\n".join(complaints)


def test_documents_that_the_source_cites_exist() -> None:
    """A comment that points to a rule is worth as much as the page it points to."""
    complaints = []
    for path in tracked_files():
        if path.suffix != ".py":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            complaints += [
                f"{path.relative_to(ROOT)}:{number}: {cited}: no such page"
                for cited in CITATION.findall(line)
                if not list(ROOT.glob(cited if cited.endswith(".md") else f"{cited}*.md"))
            ]
            if FOREIGN_CITATION.search(line):
                complaints.append(f"{path.relative_to(ROOT)}:{number}: cites a page outside")
    assert not complaints, "\n" + "\n".join(complaints)


def test_nothing_names_a_machine_or_a_registry() -> None:
    complaints = []
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            for pattern in (MACHINE_PATH, REGISTRY_HOST):
                if found := pattern.search(line):
                    complaints.append(f"{path.relative_to(ROOT)}:{number}: {found.group()}")
    assert not complaints, "\n" + "\n".join(complaints)


def test_lock_files_name_no_address() -> None:
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    assert locks
    assert [lock.name for lock in locks if "://" in lock.read_text(encoding="utf-8")] == []


def test_decision_records_are_numbered_once() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")]
    assert numbers
    assert len(numbers) == len(set(numbers))
