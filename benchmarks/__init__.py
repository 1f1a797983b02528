"""Measurements of promises: each module has `run(workdir, quick)` and stands alone."""
