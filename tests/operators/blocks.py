"""The documents' commands and files that are not transcripts: each is marked, so that a test can run or write it."""

from __future__ import annotations

import re

from .transcripts import DOCUMENTS

MARKED = re.compile(r"<!-- (run|file): ([^>]+?) -->\n```\w*\n(.*?)```", re.DOTALL)


def marked(kind: str) -> dict[str, str]:
    """Name → text of each marked block of this kind: `run` (shell commands) or `file` (a file, named by its path)."""
    texts = [document.read_text(encoding="utf-8") for document in DOCUMENTS]
    return {name: text for whole in texts for each, name, text in MARKED.findall(whole) if each == kind}
