"""What a Markdown document names: inline code, code blocks, links."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Block:
    """A fenced code block; ``language`` is the first word after the fence, "" if there is none."""

    language: str
    text: str
    line: int


@dataclass
class Document:
    """Inline code and link targets as (line, text), and the blocks."""

    codes: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


def read_markdown(text: str) -> Document:
    """Take a document apart; HTML comments are skipped."""
    document = Document()
    fence, language, start, collected = "", "", 0, []
    text = re.sub(r"<!--.*?-->", lambda match: "\n" * match.group().count("\n"), text, flags=re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(`{3,}|~{3,})\s*(\S*)", line)
        if fence:
            if mark and mark.group(1).startswith(fence) and not mark.group(2):
                document.blocks.append(Block(language, "\n".join(collected), start))
                fence = ""
            else:
                collected.append(line)
        elif mark:
            fence, language, start, collected = mark.group(1), mark.group(2), number, []
        else:
            codes = re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", line)
            document.codes += [(number, code.strip().replace("\\|", "|")) for _, code in codes]
            document.links += [(number, target) for target in re.findall(r"\]\(([^()\s]+)\)", line)]
    return document


def newest_section(changelog: str) -> str:
    """A changelog up to its second release: older sections speak of what was true then."""
    return "\n## ".join(changelog.split("\n## ")[:2])
