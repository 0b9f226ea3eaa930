"""A stranger's package: one of everything that espl-bench lets a package add."""
