"""``python -m benchmarks.book``: the book of results, made from the raw files alone.

``page`` says what a section is, ``figures`` draws; ``front``, ``accuracy``, ``science`` and ``lab`` each turn their raw
files into sections. The same files give the same book to the byte.
"""
