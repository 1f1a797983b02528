"""The parts of the page: each file gives one `Section`, or None where a run has nothing to say."""
