"""Train with two processes and record what each of them drew: run as a script by a test."""

import json
import sys
from pathlib import Path

import mixreg
from mixreg.training import TrainConfig, methods, module, train


def main(output: Path) -> None:
    original = methods.METHODS["mixup"]

    def recording(made):
        objective, mixup = (
            original.objective(made),
            mixreg.Mixup(made.law, generator=made.generator),
        )

        def objective_and_record(net, x, y):
            stats = made.stats
            record = {
                "rank": probe.global_rank,
                "epoch": probe.current_epoch,
                "inputs": x.double().sum().item(),
                "weight": mixup(x, y).weight.tolist(),
                "x_mean": stats.x_mean.sum().item(),
                "y_mean": stats.y_mean.tolist(),
                "count": stats.count,
            }
            with (output / f"rank{probe.global_rank}.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
            return objective(net, x, y)

        return objective_and_record

    class Recorded(module.TrainingModule):
        def on_train_epoch_start(self):
            nonlocal probe
            probe = self
            super().on_train_epoch_start()

    probe = None
    module.METHODS = {"mixup": original._replace(objective=recording)}
    sys.modules["mixreg.training.fit"].TrainingModule = Recorded
    train(
        TrainConfig(
            data="digits",
            epochs=2,
            batch_size=128,
            devices=2,
            accelerator="cpu",
            progress=False,
            loggers=["csv"],
            output=output / "run",
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
