"""From predictions to fair numbers: baselines, intervals, tables, flags, submissions.

Works on predictions and labels alone and needs no model; metric definitions are those of
``training/metrics``.
"""
