"""The README's commands and files that are not transcripts: each is marked, so that a test can run or write it."""

from __future__ import annotations

import re

from .transcripts import README

MARKED = re.compile(r"<!-- (run|file): ([^>]+?) -->\n```\w*\n(.*?)```", re.DOTALL)


def marked(kind: str) -> dict[str, str]:
    """Name → text of each marked block of this kind: `run` (shell commands) or `file` (a file, named by its path)."""
    return {name: text for each, name, text in MARKED.findall(README.read_text(encoding="utf-8")) if each == kind}
