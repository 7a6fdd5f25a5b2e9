# The three that people need: make run, make test, make check. All call `setup` first; it is quick when nothing changed.
PYTHON ?= python3
BIN := .venv/bin
HTTP ?= 127.0.0.1:8080

.PHONY: setup run test check matrix bench clean wheel-check

setup: .venv/.ready

.venv/.ready: pyproject.toml tests/node/package-lock.json $(wildcard tests/environments/*.txt) tests/environments/make.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "isthmus needs Python 3.11 or later; call make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing isthmus and what its tests need into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: setup
	@echo "The everything server is at http://$(HTTP)/mcp as soon as the next line says so. Connect any MCP client:"
	@echo "  an agent that takes a URL      give it   http://$(HTTP)/mcp"
	@echo "  Claude Code                    claude mcp add --transport http everything http://$(HTTP)/mcp"
	@echo "  the MCP inspector              npx @modelcontextprotocol/inspector, then choose Streamable HTTP"
	@echo "  what it is, in a terminal      $(BIN)/isthmus check http://$(HTTP)/mcp"
	@echo "Ctrl-C ends it."
	@exec $(BIN)/isthmus run --http $(HTTP) -- $(BIN)/python examples/everything.py

test: setup
	$(BIN)/python tests/environments/make.py
	$(BIN)/python -m pytest -n auto --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/check_sizes.py
	$(BIN)/python tools/check_purity.py
	$(BIN)/python tools/draw_reference.py --check

# Every behaviour over every pair of transports and eras; writes docs/compatibility.md.
matrix: setup
	$(BIN)/python tests/environments/make.py legacy
	$(BIN)/python -m tests.matrix --write

wheel-check: setup
	$(BIN)/python tools/check_wheel.py

bench: setup
	$(BIN)/python bench/run.py
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/crossings.py
	$(BIN)/python bench/paths.py
	$(BIN)/python bench/many.py

clean:
	rm -rf .venv .venvs tests/node/node_modules bench/environments/node_modules dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
