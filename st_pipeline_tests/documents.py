"""The documentation as tests read it: pages, their code blocks, inline code and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "st_pipeline"
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name, which no two pages share."""
        return self.path.name

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    def blocks(self, *languages: str) -> list[str]:
        """The code blocks of these languages; "" is a block without one."""
        return [code for language, code in _BLOCK.findall(self.text) if language in languages]

    def without_blocks(self) -> str:
        """The running text."""
        return _BLOCK.sub("", self.text)

    def spans(self) -> list[str]:
        """Inline code, each on one line."""
        return [" ".join(span.split()) for span in _SPAN.findall(self.without_blocks())]

    def lines(self, *languages: str) -> Iterator[str]:
        """The lines of these blocks, continued ones joined."""
        for block in self.blocks(*languages):
            yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())

    def commands(self) -> list[str]:
        """Everything one might type."""
        return [*self.lines("sh"), *self.spans()]

    def headings(self) -> set[str]:
        """The anchors of its headings."""
        words = (
            re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in _HEADING.findall(self.without_blocks())
        )
        return {heading.replace(" ", "-") for heading in words}


PAGES = tuple(Page(path) for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]))
