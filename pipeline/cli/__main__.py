"""`python -m affectflow.pipeline.cli` is the `pipeline` command."""

from .main import main

main()
