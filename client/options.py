"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output instead of a table.")]
RunRef = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its unique beginning, or its number.")]
RunRefs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, unique beginnings or numbers of runs.")]
Priority = Annotated[str, typer.Option(help="Band: high, normal or low.")]
Pool = Annotated[str, typer.Option(help="Only a worker with this label takes it.")]
TimeLimit = Annotated[
    str, typer.Option(metavar="TIME", help="It ends after so much time of being carried out: 90s, 30m, 12h or 2d.")
]
Gpus = Annotated[int, typer.Option(min=1, max=8, help="Devices of one worker that train it together.")]
GpuMemory = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="MIB",
        help="Memory of its device, of each of several; without it a guess from the configuration.",
    ),
]
After = Annotated[
    list[str] | None,
    typer.Option(metavar="RUN", help="Start once this run has succeeded; may be repeated."),
]
NoCheckout = Annotated[
    bool, typer.Option("--no-checkout", help="Don't keep this folder's git commit and changes (LASER_NO_CHECKOUT=1).")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, such as store.kind=laser. May be repeated."),
]
