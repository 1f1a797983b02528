"""Readers: the label files of one dataset become `SourceRow`s; one module per dataset."""
