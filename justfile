# Tasks for developers; `just` lists them.

default:
    @just --list

# Format and lint, check spelling, types and import rules
check:
    uv run --group test ruff format
    uv run --group test ruff check --fix
    uv run --group test codespell
    uv run --group test mypy
    uv run --group test lint-imports

# All tests, with the checks above and the documentation site: what CI runs
test *ARGS:
    uv run --group test pytest {{ARGS}}

# A smoke subset of the tests with the lowest versions that pyproject.toml allows; 3 GB the first time
smoke *ARGS:
    .ci/lowest {{ARGS}}

# Covered lines of the statistics and metrics by their own tests; CI has the same floor
coverage:
    uv run --group test pytest tests/stats tests/metrics --cov=colorbench.stats --cov=colorbench.metrics --cov-fail-under=91

# The documentation site in docs/_build/html; a warning fails it
docs:
    uv run --group docs sphinx-build -W --keep-going -q -b html docs docs/_build/html

# The reference leaderboard, from the shipped records
board:
    uv run colorbench leaderboard build reference -o board.html
