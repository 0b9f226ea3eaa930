"""Write the newest versions that go together into a list of constraints: `python constraints/resolve.py FILE REQUIREMENT...`.

pip resolves and installs nothing. Comments of the file stay: its first lines, and those behind a version.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

LINE = re.compile(r"(?P<name>[\w.-]+)==\S+(?P<comment>\s+#.*)?")
"""A constraint; a comment may say why the version is not newer."""
OURS = "espl-bench"


def resolved(requirements: list[str]) -> dict[str, str]:
    """Name and version of each distribution that pip would install into an empty environment, ours left out."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", *requirements]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    found = {each["metadata"]["name"]: each["metadata"]["version"].partition("+")[0] for each in report["install"]}
    return {name: version for name, version in found.items() if name != OURS}


def written(old: str, versions: dict[str, str]) -> str:
    """The list with these versions, by name."""
    lines = old.splitlines()
    comments = {match["name"].lower(): match["comment"] or "" for line in lines if (match := LINE.match(line))}
    pins = (f"{name}=={version}{comments.get(name.lower(), '')}" for name, version in versions.items())
    return "\n".join([*(line for line in lines if line.startswith("#")), *sorted(pins, key=str.lower)]) + "\n"


def main() -> None:
    """Resolve, then write the file."""
    file, *requirements = sys.argv[1:]
    path = Path(file)
    path.write_text(written(path.read_text(), resolved(requirements)))


if __name__ == "__main__":
    main()
