"""`hffm export`: what a run has learned, for other software."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    peft: Annotated[Path, typer.Option(help="Folder to write, as the PEFT library has it.")],
    node: Annotated[
        str | None, typer.Option(help="Whose version; default: the root's.", show_default=False)
    ] = None,
) -> None:
    """Write a run's LoRA and adapters as a folder for PeftModel.from_pretrained(base, FOLDER).

    LoRA goes into the plain backbone. Adapters need a place in it first, N being their bottleneck:
    node.model.adapters.attach_adapters(base, N).
    """
    from node.model.peft_folder import save_peft
    from orchestrator.record.runs import load_run, read_modules

    loaded = load_run(run)
    holder = node or loaded.plan.root.id
    written = save_peft(loaded.plan, read_modules(loaded, holder), peft)
    typer.echo(f"{peft}: {', '.join(written)} of '{holder}'")
