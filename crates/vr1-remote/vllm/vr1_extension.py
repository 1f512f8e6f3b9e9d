"""What vr1 asks of vLLM's workers that vLLM does not bring: whole weights from a folder, in place, tied heads included.

vLLM loads it by `--worker-extension-cls vr1_extension.Reload`, with this file's folder on PYTHONPATH; vr1 calls it by
`POST /collective_rpc {"method": "vr1_reload", "args": [FOLDER]}`. Written for vLLM 0.32.
"""

import json
import os


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

    def _vr1_pack_heads(self):
        """On CPUs vLLM multiplies by a packed copy of the output matrix, which is not made again where that is tied to the embeddings."""
        for name, layer in self.model_runner.get_model().named_modules():
            head = getattr(layer, "base_layer", layer)  # beneath adapters
            if name.rsplit(".", 1)[-1] == "lm_head" and hasattr(head, "cpu_linear"):
                head.quant_method.process_weights_after_loading(head)
