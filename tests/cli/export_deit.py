"""export_deit.py CHECKPOINT FOLDER: the ViT of a checkpoint with a second token, of random numbers, as a DeiT."""
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

checkpoint, folder = Path(sys.argv[1]), Path(sys.argv[2])
config = json.loads((checkpoint / "config.json").read_text())
config.update(model_type="deit", architectures=["DeiTForImageClassification"])
numbers = np.random.default_rng(3)
tensors = {name.replace("vit.", "deit."): tensor for name, tensor in load_file(checkpoint / "model.safetensors").items()}
positions = tensors["deit.embeddings.position_embeddings"]
token = numbers.normal(scale=0.5, size=(1, 1, positions.shape[2])).astype(np.float32)
tensors["deit.embeddings.distillation_token"] = token
tensors["deit.embeddings.position_embeddings"] = np.concatenate([positions[:, :1], token, positions[:, 1:]], 1)
folder.mkdir()
(folder / "config.json").write_text(json.dumps(config))
save_file(tensors, folder / "model.safetensors", {"format": "pt"})
