"""Train with two processes and record what each of them drew: run as a script by a test."""

import json
import sys
from pathlib import Path

from mixreg.training import TrainConfig, module, train


def main(output: Path) -> None:
    original = module.make_objective

    def recording(config, stats, generator):
        objective = original(config, stats, generator)

        def objective_and_record(net, x, y):
            weight = objective.mixup(x, y).weight
            record = {
                "rank": probe.global_rank,
                "epoch": probe.current_epoch,
                "inputs": x.double().sum().item(),
                "weight": weight.tolist(),
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
    module.make_objective = recording
    sys.modules["mixreg.training.train"].TrainingModule = Recorded
    train(
        TrainConfig(
            data="digits",
            epochs=2,
            batch_size=128,
            devices=2,
            progress=False,
            loggers=["csv"],
            output=output / "run",
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
