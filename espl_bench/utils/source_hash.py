"""Hash the source of a module together with the modules of its own package that it imports, directly or not. Nothing is imported.

Other modules of the package do not count, so that work on one environment leaves another's identity as it is. Foreign packages do not
count either: their versions are in a run's provenance.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

SHARED = ("site-packages", "dist-packages")
"""Names of folders whose modules do not belong together."""

Locate = Callable[[str], Path | None]
"""Returns the source file of a module that belongs to the hashed one; None for any other name."""


def source_hash(module: str) -> str | None:
    """Return the SHA-256 over names and bytes of the sources; None for a module without a source file."""
    locate, found, waiting = _locator(module.partition(".")[0]), dict[str, bytes](), [module]
    while waiting:
        name = waiting.pop()
        path = None if name in found else locate(name)
        if path is not None:
            found[name] = path.read_bytes()
            waiting.extend(_imported(found[name], name, is_package=path.name == "__init__.py"))
    return digest_of(found) if found else None


def package_hash(package: Path) -> str:
    """Return the SHA-256 over all modules of a package's folder."""
    return digest_of({path.relative_to(package).as_posix(): path.read_bytes() for path in package.rglob("*.py")})


def digest_of(named: dict[str, bytes]) -> str:
    """Return the SHA-256 over names and contents, in order of the names."""
    digest = hashlib.sha256()
    for name, content in sorted(named.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _locator(top: str) -> Locate:
    """Return how modules are found that belong to a top-level package or, with a single module, beside it in a folder of its own."""
    try:
        spec = find_spec(top)
    except ValueError:  # a script, or a module made in memory
        spec = None
    if spec is not None and spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return lambda name: next(_files(folders, name.split(".")[1:]), None) if name.partition(".")[0] == top else None
    origin = (spec.origin if spec is not None else None) or getattr(sys.modules.get(top), "__file__", None)
    if origin is None or not Path(origin).is_file():
        return lambda name: None
    file = Path(origin)
    beside = [] if file.parent.name in SHARED else [file.parent]
    return lambda name: file if name == top else next(_files(beside, name.split(".")), None)


def _files(folders: list[Path], parts: list[str]) -> Iterator[Path]:
    """Yield the file of a module, given by its place below the folders."""
    for folder in folders:
        place = folder.joinpath(*parts)
        candidates = (place.with_suffix(".py"), place / "__init__.py") if parts else (place / "__init__.py",)
        yield from (path for path in candidates if path.is_file())


def _imported(code: bytes, module: str, is_package: bool) -> Iterator[str]:
    """Yield every name that may be a module: those imported, those they are imported from, and the packages around both."""
    yield from _enclosing(module)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _enclosing(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            start = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                yield from _enclosing(f"{start}.{alias.name}")


def _enclosing(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))
