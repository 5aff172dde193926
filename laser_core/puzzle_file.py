"""Torch-free reading of puzzle files; see parse_csv."""
