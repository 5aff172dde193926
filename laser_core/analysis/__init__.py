"""Whether a model's activations are what LASER (arXiv 2604.17224) says of them: run kind ``analysis``.

``spectra``, ``dimension`` and ``angles`` are mathematics; ``recording`` looks at the activations of a recursion, ``tracking``
at those of further training; ``verdicts`` holds the thresholds; ``runner`` puts them together.
"""
