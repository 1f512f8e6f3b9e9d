"""What vr1 asks of vLLM's workers that vLLM does not bring: whole weights from a folder or from a process group, in place, tied heads included.

vLLM loads it by `--worker-extension-cls vr1_extension.Reload`, with this file's folder on PYTHONPATH; vr1 calls it by
`POST /collective_rpc {"method": "vr1_reload", "args": [FOLDER]}`, and by `vr1_join` and `vr1_receive`. Written for vLLM 0.32.
"""

import json
import os
from datetime import timedelta

import torch
from torch.distributed import PrefixStore, TCPStore


class Reload:
    """Mixed into vLLM's worker, whose `model_runner` and `reload_weights` it uses."""

    def vr1_reload(self, folder):
        """Takes the weights of a checkpoint folder in Hugging Face layout."""
        # vLLM empties the model before it looks, and the next request then ends the server: so look first.
        config = os.path.join(folder, "config.json")
        if not os.path.isfile(config):
            raise FileNotFoundError(f"there is no checkpoint at {folder}: does this machine see the trainer's folder?")
        with open(config, encoding="utf-8") as file:
            json.load(file)
        if not any(name.endswith(".safetensors") for name in os.listdir(folder)):
            raise FileNotFoundError(f"there are no weights in {folder}")
        self.reload_weights(weights_path=folder)
        self._vr1_pack_heads()
        return "ok"

    def vr1_join(self, address, port, offset, ranks, group, backend, seconds):
        """Joins a process group whose rank 0 is the trainer, which holds the store; this server's workers are `offset` and those behind it."""
        workers = self.parallel_config
        rank = offset + workers.data_parallel_index * workers.world_size + self.rank
        limit = timedelta(seconds=seconds)
        self._vr1_group = None
        store = TCPStore(address, port, is_master=False, timeout=limit)
        # As torch.distributed has it of a group with this name.
        device = torch.device("cpu") if backend == "gloo" else self.device
        for prefix in (group, f"{group}/", f"{device.type}/"):
            store = PrefixStore(prefix, store)
        if backend == "gloo":
            made = torch.distributed.ProcessGroupGloo(store, rank, ranks, limit)
        else:
            options = torch.distributed.ProcessGroupNCCL.Options()
            options._timeout = limit
            made = torch.distributed.ProcessGroupNCCL(store, rank, ranks, options)
        self._vr1_group = (made, device)
        return "ok"

    def vr1_receive(self, names, dtypes, shapes):
        """Takes these tensors of rank 0, in this order and one at a time, as the model's weights; the group is left afterwards."""
        group, device = self._vr1_group
        self._vr1_group = None

        def tensors():
            for name, dtype, shape in zip(names, dtypes, shapes, strict=True):
                tensor = torch.empty(shape, dtype=getattr(torch, dtype), device=device)
                group.broadcast(tensor, 0).wait()
                yield name, tensor

        try:
            self.reload_weights(weights_iterator=tensors())
        except BaseException:
            # vLLM has emptied the model, and the next request would end the server: layers that nothing came for are as before.
            self._vr1_put_back()
            raise
        self._vr1_pack_heads()
        return "ok"

    def _vr1_put_back(self):
        from vllm.config import set_current_vllm_config
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        with set_current_vllm_config(self.vllm_config):
            finalize_layerwise_reload(self.model_runner.get_model(), self.vllm_config.model_config)
        self._vr1_pack_heads()

    def _vr1_pack_heads(self):
        """On CPUs vLLM multiplies by a packed copy of the output matrix, which is not made again where that is tied to the embeddings."""
        for name, layer in self.model_runner.get_model().named_modules():
            head = getattr(layer, "base_layer", layer)  # beneath adapters
            if name.rsplit(".", 1)[-1] == "lm_head" and hasattr(head, "cpu_linear"):
                head.quant_method.process_weights_after_loading(head)
