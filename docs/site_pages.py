"""What the site has beside the pages of docs/: notebooks as pages, and the files elsewhere in the repository that pages link to.

A Markdown page elsewhere becomes a page of the site, another file a file of it, and a link to a folder becomes its name. A link to what
is not there stays, and `mkdocs build --strict` names it.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = "repository"
"""Folder of the site for what is outside of docs/."""
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebooks as Markdown, and whatever is linked to outside of docs/, with what that links to."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        text = jupytext.writes(jupytext.read(Path(config.docs_dir) / file.src_uri), fmt="md")
        files.remove(file)
        files.append(File.generated(config, f"{file.src_uri.removesuffix('.ipynb')}.md", content=_without_front_matter(text)))
    waiting = [target for file in files.documentation_pages() for target in _outside(f"docs/{file.src_uri}", file.content_string)]
    met: set[str] = set()
    while waiting:
        target = waiting.pop()
        if target in met or not (ROOT / target).is_file():
            continue
        met.add(target)
        if target.endswith(".md"):
            text = (ROOT / target).read_text(encoding="utf-8")
            files.append(File.generated(config, f"{ELSEWHERE}/{target}", content=text))
            waiting += _outside(target, text)
        else:
            files.append(File.generated(config, f"{ELSEWHERE}/{target}", abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where things are in the site."""
    here = _place(page.file.src_uri)

    def rewritten(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), match["target"]))
        if (ROOT / target).is_dir():
            return f"{match['text']} (`{target}/`)"
        there = _source(target)
        if files.get_file_from_path(there) is None:
            return match[0]
        return f"[{match['text']}]({posixpath.relpath(there, posixpath.dirname(page.file.src_uri) or '.')}{match['anchor'] or ''})"

    return LINK.sub(rewritten, markdown)


def _place(source: str) -> str:
    """Return where a page of the site is in the repository."""
    return source.removeprefix(f"{ELSEWHERE}/") if source.startswith(f"{ELSEWHERE}/") else f"docs/{source}"


def _source(target: str) -> str:
    """Return where a file of the repository is in the site."""
    inside = target.removeprefix("docs/") if target.startswith("docs/") else f"{ELSEWHERE}/{target}"
    return f"{inside.removesuffix('.ipynb')}.md" if inside.endswith(".ipynb") else inside


def _outside(place: str, text: str) -> Iterator[str]:
    """Yield the files outside of docs/ that a text links to."""
    for match in LINK.finditer(text):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), match["target"]))
        if not target.startswith(("docs/", "..")):
            yield target


def _without_front_matter(text: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n+", "", text, flags=re.DOTALL)
