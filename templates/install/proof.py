import sys

if sys.argv[1] == "npu":
    import torch
    import torch_npu

    print("torch", torch.__version__, "torch_npu", torch_npu.__version__, flush=True)
import vllm

try:
    from vllm.platforms import current_platform

    print("platform", current_platform.device_type, flush=True)
except ModuleNotFoundError as error:
    if error.name != "vllm.platforms":
        raise
print("== vllm", vllm.__version__, flush=True)
