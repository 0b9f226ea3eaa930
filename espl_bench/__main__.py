"""Run `python -m espl_bench` as `espl-bench`; `compare` starts its runs this way."""

from espl_bench.cli.app import main

if __name__ == "__main__":
    main()
