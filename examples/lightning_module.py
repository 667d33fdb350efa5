"""Trains a PixelCNN with PyTorch Lightning, to show that a model's loss takes one line of a LightningModule.

The images are scikit-learn's 8x8 digits. Needs the `train` extra and `pip install lightning`. This file must not be
called lightning.py, because Python would then import it in place of the package lightning.

    python examples/lightning_module.py
"""

import argparse

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import pixelrnn_ext as px
from pixelrnn_ext.training import data


class DensityModel(lightning.LightningModule):
    """Trains any model of this package with Lightning. A batch is a tuple of one tensor, the images."""

    def __init__(self, model: px.models.AutoregressiveModel, learning_rate: float) -> None:
        super().__init__()
        self.model = model
        self.learning_rate = learning_rate

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        loss = self.model.bits_per_dim(*batch)
        self.log("train_bits_per_dim", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        self.log("validation_bits_per_dim", self.model.bits_per_dim(*batch), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.learning_rate)


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    lightning.seed_everything(options.seed)

    digits = data.load("digits")
    batches = {
        split: DataLoader(TensorDataset(digits.splits[split].images), batch_size=32, shuffle=split == "train")
        for split in ("train", "validation")
    }
    model = px.PixelCNN(image_channels=1, levels=digits.levels, hidden_channels=24, num_layers=4, head_channels=32)
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        gradient_clip_val=1.0,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(DensityModel(model, learning_rate=3e-3), batches["train"], batches["validation"])
    return trainer.callback_metrics["validation_bits_per_dim"].item()


if __name__ == "__main__":
    print(f"validation: {main():.3f} bits/dim")
