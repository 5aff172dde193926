"""LASER on Tiny Recursive Models: the science, free of any service.

Importing the package (or its ``config``, ``events``, ``schema``, ``puzzle_file`` and ``verdicts`` modules) never loads torch.
"""
