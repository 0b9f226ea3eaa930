"""Put the table of model families between its markers in docs/models.md: `python docs/refresh_models.py --write [FAMILY …]`.

Every family is opened, sampled, trained, saved and resumed, as the tests do; without names this takes some minutes. Without `--write`
it prints the rows.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))


def main() -> None:
    """Try the families, and print or write their rows."""
    from family_trial import PAGE, TABLE, table, try_family
    from model_families import FAMILIES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help="all unless named")
    parser.add_argument("--write", action="store_true", help="write the table into docs/models.md")
    options = parser.parse_args()
    if options.write and options.families:
        parser.error("a table has every family; leave the names out")
    rows = []
    for name in options.families or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(try_family(name, Path(folder)))
        sys.stdout.write(f"{rows[-1].line()}\n")
        sys.stdout.flush()
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(TABLE.sub(lambda block: f"{block[1]}{table(rows)}{block[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
