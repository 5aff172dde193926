"""``python -m laser_core bench``: what every activation store holds, takes and gives, beside eager training.

``scales`` says what is measured, ``subject`` trains the models, ``front`` compares the stores on them; ``limit``, ``depth``
and ``breakdown`` answer why. Needs torch, numpy and safetensors alone.
"""

import os

# PyTorch's profiler says when it starts and stops, unless it was told not to before torch is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
