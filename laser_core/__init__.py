"""LASER on Tiny Recursive Models: the science, free of any service.

Importing the package (or its ``config``, ``events``, ``schema`` and ``puzzle_file`` modules) never loads torch.
"""
