"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sciml.train.history import History


class Bar:
    """Epoch, losses and time left, redrawn in place; shown only where stderr is a terminal.

    Args:
        epochs: epochs of the whole run.
        steps: updates per epoch.
        show: False is silent whatever stderr is.
    """

    def __init__(self, *, epochs: int, steps: int, show: bool) -> None:
        self.epochs, self.steps = epochs, steps
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (show and console.is_terminal),
            transient=True,
        )
        self._task = self._progress.add_task("training", total=epochs * steps)

    def __enter__(self) -> Bar:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def update(self, step: int, history: History) -> None:
        """Show that `step` updates of the run are done."""
        epoch = min(step // self.steps + 1, self.epochs)
        text = f"epoch {epoch}/{self.epochs}"
        if history.train_loss:
            text += f"  train {history.train_loss[-1]:.3e}"
        if history.valid_loss:
            text += f"  valid {history.valid_loss[-1]:.3e} (best {history.best_loss:.3e})"
        self._progress.update(self._task, completed=step, description=text)
