"""The training loop: one for every model; what is peculiar to a model lives in its ``forward``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field

from affectflow.models.batch import FusionBatch, FusionModel

from ..config import Config
from ..errors import InvalidInput
from ..evaluation.trained import original_labels
from ..store.layout import write_json
from .checkpoint import load_training, recover, save_model, save_training, written_folder
from .distributed import Ranks
from .gradients import module_norms, task_norms
from .journal import Journal, Watcher, flat_numbers, read_log
from .loader import Loader, LoaderConfig, micro_batches
from .losses import LossConfig, MultiTaskLoss
from .meter import Meter
from .optimisation import OptimizerConfig, Schedule, clip, make_optimizer, set_rate
from .precision import PrecisionName, autocast, make_scaler, placed
from .randomness import seed_generators
from .scores import Monitor, decisions, find_flags, finite_or_none, numbers, score, weak_spots
from .validation import prepare_evaluation, run_batches

if TYPE_CHECKING:
    from .data import TrainingData


class TrainerConfig(Config):
    """How long and how the loop runs.

    Attributes:
        epochs: Most passes over the training split.
        patience: Epochs without a better monitored value (or an equal one and a lower loss) before
            it stops; 0 never stops early.
        monitor: A number of the validation split, such as ``val/mean/macro_f1`` or ``val/loss``;
            ``auto`` takes the metrics' choice for the tasks.
        metrics: Family of metric definitions, see `metrics.compute`.
        precision: Of forward passes; bf16 and fp16 by autocast, weights stay float32.
        accumulate: Micro-batches that a batch is cut into; same result, less memory.
        checkpoint_every: Steps between checkpoints beside those at epoch ends; 0 for none.
        log_every: Steps between lines of the log.
        gradient_report: Whether the first step of an epoch logs gradient norms by task and part.
        tensorboard: Whether to write TensorBoard files, where the package is installed.
        threads: Compute threads of torch on the CPU; 0 leaves torch's choice.
        device: Where it runs.
    """

    epochs: int = Field(default=50, ge=1)
    patience: int = Field(default=8, ge=0)
    monitor: str = "auto"
    metrics: str = "auto"
    precision: PrecisionName = "fp32"
    accumulate: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=500, ge=0)
    log_every: int = Field(default=10, ge=1)
    gradient_report: bool = True
    tensorboard: bool = True
    threads: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    # Changes how it is watched or how fast it runs, but not what comes out.
    RUNTIME: ClassVar[frozenset[str]] = frozenset(
        {"checkpoint_every", "log_every", "gradient_report", "tensorboard", "threads", "device"}
    )


class Recipe(Config):
    """The configurations of a training, without model and data."""

    loader: LoaderConfig = LoaderConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    trainer: TrainerConfig = TrainerConfig()


@dataclass(slots=True)
class Position:
    """Where a training stands.

    Attributes:
        epoch, batch: The next batch to train on.
        step: Updates done.
        best, best_loss, best_epoch: Best monitored value so far, the validation loss beside it, and
            its epoch, counted from 1.
        waited: Epochs since then.
        finished: Why it ended; empty while it goes on.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    best_loss: float = 0.0
    best_epoch: int = 0
    waited: int = 0
    finished: str = ""


class Trainer:
    """Trains one model with one seed in one folder; what the folder holds is gone on from.

    Args:
        model: With its initial weights.
        data: Opened for ``train`` and ``val``.
        recipe: All configurations.
        seed: Of order and dropout.
        folder: The seed's folder.
        ranks: This process among all of the training.
        watch: Called with every entry of the log, and with ``progress`` after every step.
    """

    def __init__(
        self,
        model: FusionModel,
        data: TrainingData,
        recipe: Recipe,
        seed: int,
        folder: Path,
        ranks: Ranks,
        watch: Watcher,
    ) -> None:
        self.data, self.recipe, self.config, self.seed = data, recipe, recipe.trainer, seed
        self.folder, self.ranks, self.watch = folder, ranks, watch
        self.model = model.to(ranks.device)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        train = data.split("train")
        self.loader = Loader(
            train,
            recipe.loader,
            seed=seed,
            shuffle=True,
            rank=ranks.rank,
            world=ranks.world,
            digest=data.digest,
        )
        self.loss = MultiTaskLoss(recipe.loss, data.tasks, train.labels, ranks.device)
        self.monitor = Monitor.of(self.config.monitor, data.tasks)
        self.optimizer = make_optimizer(model, recipe.optimizer)
        self.schedule = Schedule(
            recipe.optimizer, self.config.epochs * len(self.loader), self.monitor.maximise
        )
        self.scaler = make_scaler(ranks.device, self.config.precision)
        self.position, self.meter = Position(), Meter()

    def fit(self) -> Position:
        """Train to the end and return where it ended.

        Raises:
            InvalidInput: The loss is not finite, or no epoch had a monitored value.
        """
        before = self._resume()
        writes = self.folder if self.ranks.main else None
        tensorboard = self.config.tensorboard and not self.position.finished
        self.journal = Journal(writes, self.position.step, self.watch, tensorboard)
        try:
            self._warn_of_cut_batches()
            self._warn_of_other_ranks(before)
            if self.position.step and not self.position.finished:
                at = {"epoch": self.position.epoch + 1, "batch": self.position.batch}
                self.watch({"kind": "resumed", "step": self.position.step, **at})
            if not self.position.finished:
                for name, message in weak_spots(flat_numbers(self.data.counts)):
                    self.journal.warn(self.position.step, name, message)
            while not self.position.finished:
                self._train_epoch()
                self._validate()
                self._checkpoint()
            if self.position.best is None:
                raise self.monitor.undefined()
            self._end()
        finally:
            self.journal.close()
        return self.position

    def _train_epoch(self) -> None:
        position = self.position
        self.model.train()
        for batch in self.loader.epoch(position.epoch, position.batch):
            scale = self.schedule.scale(position.step)
            rate = set_rate(self.optimizer, self.recipe.optimizer, scale)
            seed_generators(self.seed, position.step, self.ranks.rank)
            losses = self._accumulate(placed(batch, self.ranks.device))
            norm = self._update()
            position.step += 1
            position.batch += 1
            self._log_step(losses, rate, norm)
            every = self.config.checkpoint_every
            if every and position.step % every == 0 and position.batch < len(self.loader):
                self._checkpoint()
        position.epoch, position.batch = position.epoch + 1, 0

    def _accumulate(self, batch: FusionBatch) -> torch.Tensor:
        """Add up gradients; return (1 + tasks,): loss of the global batch, and of each task."""
        self.optimizer.zero_grad(set_to_none=True)
        size = torch.tensor([len(batch)], dtype=torch.float64, device=self.ranks.device)
        counts = self.ranks.sum_(torch.cat((self.loss.denominators(batch.labels), size)))
        denominators, total = counts[:-1], float(counts[-1])
        losses = torch.zeros(len(counts), dtype=torch.float64, device=self.ranks.device)
        for number, part in enumerate(micro_batches(batch, self.config.accumulate)):
            with autocast(self.ranks.device, self.config.precision):
                output = self.model(part)
            loss = self.loss(output, part.labels, denominators, len(part) / total)
            if number == 0 and self._reports_gradients():
                for name, norm in task_norms(loss.tasks, self.parameters).items():
                    self.meter.add(f"gradient/task/{name}", norm)
            if loss.total.requires_grad:
                self.scaler.scale(loss.total).backward()
            shares = [loss.total, *(loss.tasks.get(task.name, 0.0) for task in self.loss.tasks)]
            losses += torch.stack([torch.as_tensor(x).detach().to(losses) for x in shares])
            for name, value in {**output.penalties, **output.diagnostics}.items():
                self.meter.add(name, value, len(part))
        self.ranks.sum_(losses)
        self.meter.add("loss", losses[0], total)
        for task, value, count in zip(self.loss.tasks, losses[1:], denominators, strict=True):
            self.meter.add(f"loss/{task.name}", value, count)
        return losses

    def _update(self) -> torch.Tensor:
        """Sum gradients over ranks, clip, step; return the norm before clipping."""
        self.ranks.sum_gradients(self.parameters)
        if all(parameter.grad is None for parameter in self.parameters):
            return torch.zeros(())
        self.scaler.unscale_(self.optimizer)
        if self._reports_gradients():
            for name, value in module_norms(self.model).items():
                # With loss scaling an overflow is how the scale is found, not a finding.
                if not self.scaler.is_enabled() or bool(value.isfinite()):
                    self.meter.add(f"gradient/part/{name}", value)
        norm = clip(self.parameters, self.recipe.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ranks.share_buffers(self.model)
        return norm

    def _reports_gradients(self) -> bool:
        return self.config.gradient_report and self.position.batch == 0

    def _log_step(self, losses: torch.Tensor, rate: float, norm: torch.Tensor) -> None:
        position = self.position
        steps = {"epoch": position.epoch + 1, "batch": position.batch, "of": len(self.loader)}
        self.watch({"kind": "progress", "step": position.step, **steps})
        if position.step % self.config.log_every:
            return
        values = losses.tolist()
        names = [task.name for task in self.loss.tasks]
        facts = {
            "loss": self._finite(values[0]),
            "tasks": dict(zip(names, values[1:], strict=True)),
        }
        facts |= {"lr": rate, "gradient_norm": finite_or_none(float(norm))}
        self.journal.write("step", position.step, epoch=position.epoch + 1, **facts)

    def _finite(self, loss: float) -> float:
        if math.isfinite(loss):
            return loss
        raise InvalidInput(
            f"the loss is {loss} at step {self.position.step} (epoch {self.position.epoch + 1})",
            "lower optimizer.lr, set optimizer.clip_norm, or use trainer.precision=fp32",
        )

    def _validate(self) -> None:
        """Rank 0 runs the model over the validation split; every rank learns what it found."""
        position, train = self.position, self.meter.means()
        self._finite(train.get("loss", 0.0))
        self.meter = Meter()
        found = self._evaluate() if self.ranks.main else None
        own = (found[0], found[1]["loss"]) if found else (0.0, 0.0)
        value, loss = self.ranks.from_main(own)
        improved = self.monitor.better(value, loss, position.best, position.best_loss)
        position.waited = 0 if improved else position.waited + 1
        if improved:
            position.best, position.best_loss, position.best_epoch = value, loss, position.epoch
        self.schedule.validated(value)
        if found:
            facts = {"train": train, "val": found[1], "improved": improved}
            facts |= {"monitor": self.monitor.name, "value": value}
            spots = list(weak_spots({**train, **found[1]["decisions"]}))
            facts["weak_spots"] = list(dict.fromkeys(name for name, _ in spots))
            self.journal.write("epoch", position.step, epoch=position.epoch, **facts)
            for name, message in spots:
                self.journal.warn(position.step, name, message, epoch=position.epoch)
            if math.isnan(value):
                message = f"{self.monitor.name} is undefined; such an epoch is not a better one"
                self.journal.warn(position.step, "monitor_undefined", message)
            if improved:
                self._save_best(found[1])
        patience = self.config.patience
        if patience and position.waited >= patience:
            position.finished = f"no better {self.monitor.name} for {patience} epochs"
        elif position.epoch >= self.config.epochs:
            position.finished = f"{self.config.epochs} epochs done"

    def _evaluate(self) -> tuple[float, dict[str, Any]]:
        """Return the monitored value and all numbers of the validation split."""
        # Batches as `pipeline evaluate` makes them: in the order of the data.
        loader = self.recipe.loader.model_copy(update={"bucket": False})
        device = self.ranks.device
        train, val = self.data.split("train"), self.data.split("val")
        prepare_evaluation(self.model, train, self.seed, device, loader.layout)
        batches = Loader(val, loader, seed=self.seed, shuffle=False, digest=self.data.digest)
        if self.model.wants_split:
            self.model.observe_split(placed(batch, device) for batch in batches.epoch(0))
        precision = self.config.precision
        if self.model.wants_validation:
            with torch.no_grad(), autocast(device, precision):
                self.model.fit_on_validation(placed(batch, device) for batch in batches.epoch(0))
        output = run_batches(
            self.model, batches.epoch(0), self.data.tasks, device, precision, self.loss
        )
        self.model.observe_split(None)
        scores = score(self.data.tasks, output, self.config.metrics)
        means = {name: finite_or_none(value) for name, value in output.means.items()}
        facts = {**output.losses, "metrics": numbers(scores), "means": means}
        facts["decisions"] = decisions(self.data.tasks, output, scores, original_labels(self.data))
        facts["flags"] = find_flags(self.data.tasks, output, self.config.metrics)
        return self.monitor.value(scores), facts

    def _save_best(self, facts: Mapping[str, Any]) -> None:
        state = {"position": asdict(self.position), "val": facts, "monitor": self.monitor.name}
        with written_folder(self.folder / "best") as new:
            save_model(new, self.model, state)
        where = {"epoch": self.position.best_epoch, "step": self.position.step}
        write_json(self.folder / "val.json", {**where, "monitor": self.monitor.name, **facts})

    def _checkpoint(self) -> None:
        if self.ranks.main:
            state = {
                "seed": self.seed,
                "position": asdict(self.position),
                "loader": self.loader.state(),
                "schedule": self.schedule.state(),
                "scaler": self.scaler.state_dict(),
                "meter": self.meter.state(),
                "world": self.ranks.world,
            }
            save_training(self.folder / "last", self.model, self.optimizer, state)
        self.ranks.wait()

    def _resume(self) -> int:
        """Go on from the last checkpoint, if any; return how many ranks it was trained by."""
        last = self.folder / "last"
        if self.ranks.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            recover(last)
            recover(self.folder / "best")
        self.ranks.wait()
        if not last.exists():
            return self.ranks.world
        state = load_training(last, self.model, self.optimizer)
        self.position = Position(**state["position"])
        self.loader.restore(state["loader"])
        self.schedule.restore(state["schedule"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.meter.restore(state["meter"], self.ranks.device)
        return int(state["world"])

    def _warn_of_cut_batches(self) -> None:
        pieces = self.config.accumulate * self.ranks.world
        if pieces > 1 and self.model.reads_whole_batch:
            self.journal.warn(
                self.position.step,
                "cut_batches",
                f"this model relates the samples of a batch; each batch is cut into {pieces} "
                "pieces (accumulate × ranks) that do not see each other",
            )

    def _warn_of_other_ranks(self, before: int) -> None:
        now, position = self.ranks.world, self.position
        if before == now or position.finished:
            return
        self.journal.warn(
            position.step,
            f"ranks_{now}_from_step_{position.step}",
            f"trained with ranks = {before} so far, goes on with {now}: each rank draws its own "
            "dropout, so results stay valid, but are those of neither number alone",
        )

    def _end(self) -> None:
        """Log the end, once; a killed process may have left that to the next one."""
        position = self.position
        facts = {"reason": position.finished, "best": position.best}
        facts |= {"best_epoch": position.best_epoch, "monitor": self.monitor.name}
        if self.ranks.main and any(entry["kind"] == "end" for entry in read_log(self.folder)):
            self.watch({"kind": "done", "step": position.step, **facts})
        else:
            self.journal.write("end", position.step, epoch=position.epoch, **facts)
        self.ranks.wait()
