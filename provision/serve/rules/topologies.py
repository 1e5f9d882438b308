"""What is known of topologies beyond their arithmetic: what vLLM refuses, what upstream tests and what fails (S04, S09,
S13, T4 to T7)."""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.releases import Release
from provision.serve.rules.base import Rule, fail, warn
from provision.serve.structured import at, structure

REFUSES_DENSE = Release("0.21.0rc1")
"""First release of vllm-ascend on which a dense model was seen to be refused [vllm-ascend issue 11863]."""


def dense(layout: Layout) -> bool:
    """Whether the model is known to have no experts."""
    return layout.shape is not None and layout.shape.heads > 0 and not layout.experts


def dense_external(layout: Layout) -> Iterator[Violation]:
    """S13: external data parallel is for a mixture of experts; vLLM refuses others, of which the topology itself warns
    for older releases [vllm-ascend issue 11863; vLLM engine/arg_utils.py]."""
    new = layout.release is None or layout.release >= REFUSES_DENSE
    if layout.topology == "external-dp" and layout.dp > 1 and dense(layout) and new:
        yield fail(
            "S13",
            "vLLM refuses external data parallel for a model without experts",
            'vLLM: "Non-MoE models do not support external data parallel mode"; vllm-ascend issue 11863',
            "set serve.topology: replicas (independent servers, which is what the ranks of such a model are anyway)",
        )


def hybrid_evidence(layout: Layout) -> Iterator[Violation]:
    """T4: no nightly case of upstream runs hybrid load balancing [vllm-ascend nightly configurations]."""
    if layout.topology == "hybrid-dp" and layout.accelerator.default_devices:
        yield warn(
            "T4",
            "hybrid load balancing has little evidence on Ascend: no nightly case of upstream runs it",
            "vllm-ascend nightly configurations",
            "prefer topology data-parallel, or replicas where the model fits into a part of a node",
        )


def local_balance(layout: Layout) -> Iterator[Violation]:
    """T4: hybrid load balancing needs several engines a node [vLLM engine/arg_utils.py]."""
    if layout.topology == "hybrid-dp" and layout.nodes > 1 and layout.local_engines == 1:
        yield warn(
            "T4",
            "hybrid-dp with one engine a node has nothing to balance there: vLLM makes it external data parallel",
            "vLLM: data_parallel_hybrid_lb is not eligible when data_parallel_size_local = 1",
            "set serve.topology: external-dp, or more engines a node",
        )


def external_evidence(layout: Layout) -> Iterator[Violation]:
    """T5: upstream runs external data parallel only within prefill-decode [vllm-ascend nightly configurations]."""
    if layout.topology == "external-dp" and not layout.role and layout.accelerator.default_devices and layout.dp > 1:
        yield warn(
            "T5",
            "external-dp alone is untested on Ascend: nightly cases of upstream run it only for prefill and decode",
            "vllm-ascend nightly configurations",
            "prefer topology data-parallel, or replicas where the model fits into a part of a node",
        )


def stages_and_engines(layout: Layout) -> Iterator[Violation]:
    """S13: pipeline stages and data parallel of a mixture of experts over nodes [vllm-ascend feature guide, pipeline
    parallel]."""
    if layout.topology == "external-dp" and layout.pp > 1 and layout.dp > 1 and layout.experts and layout.nodes > 1:
        yield fail(
            "S13",
            "pipeline and data parallel cannot both be over 1 for a mixture of experts over several nodes",
            "vllm-ascend feature guide, pipeline parallel: limits over RoCE",
            "",
        )


def xlite_with_stages(layout: Layout) -> Iterator[Violation]:
    """S13: Xlite's graphs don't know pipeline stages [vllm-ascend feature guide, pipeline parallel]."""
    config = structure(layout, 0, "additional-config")
    if layout.pp > 1 and at(config, "xlite_graph_config", "enabled"):
        yield fail(
            "S13",
            f"xlite_graph_config and pipeline_parallel_size {layout.pp} exclude each other",
            "vllm-ascend feature guide, pipeline parallel: Xlite graph mode is not compatible with PP",
            "take xlite_graph_config out of additional-config, or set pipeline_parallel_size: 1",
        )


def layer_partition(layout: Layout) -> Iterator[Violation]:
    """S04: a split of the layers by hand has a number for each stage, and their sum is the model's [vllm-ascend feature
    guide, pipeline parallel]."""
    given = layout.head.serve.env.get("VLLM_PP_LAYER_PARTITION")
    if given is None:
        return
    parts = str(given).split(",")
    source = "vllm-ascend feature guide, pipeline parallel: VLLM_PP_LAYER_PARTITION"
    if not all(part.strip().isdecimal() for part in parts) or len(parts) != layout.pp:
        reason = f"serve.env: VLLM_PP_LAYER_PARTITION={given} is no list of {layout.pp} numbers, one a stage"
        yield fail("S04", reason, source, "write as many numbers as pipeline_parallel_size, with commas, or remove it")
        return
    layers, total = layout.shape.layers if layout.shape else 0, sum(int(part) for part in parts)
    if layers and total != layers:
        reason = f"serve.env: VLLM_PP_LAYER_PARTITION={given} splits {total} layers; the model has {layers}"
        yield fail("S04", reason, source, f"choose numbers whose sum is {layers}")


def ray_on_cpu(layout: Layout) -> Iterator[Violation]:
    """T6: vLLM's CPU build knows no Ray [vLLM, platforms/interface.py]."""
    if layout.topology == "ray" and not layout.accelerator.default_devices:
        yield warn(
            "T6",
            "vLLM's CPU build refuses Ray: current platform cpu does not support ray",
            "seen on vLLM 0.32.0",
            "set serve.topology: tensor-parallel",
        )


def ray_evidence(layout: Layout) -> Iterator[Violation]:
    """T6: upstream doesn't test Ray, and failures over nodes are reported [vllm-ascend issues 3529, 4123, 7159,
    10910]."""
    if layout.topology == "ray" and layout.accelerator.default_devices:
        yield warn(
            "T6",
            "Ray has no nightly case of upstream, and failures are reported with expert, pipeline and data "
            "parallel over nodes",
            "vllm-ascend issues 3529, 4123, 7159, 10910",
            "prefer topology data-parallel, or tensor-parallel where one engine needs several nodes",
        )


def ray_experts(layout: Layout) -> Iterator[Violation]:
    """S09: expert parallel over Ray fails on some releases and in some shapes [vllm-ascend issues 4123, 3529]."""
    if layout.topology != "ray" or not layout.expert_parallel or not layout.accelerator.default_devices:
        return
    release = layout.release
    remedy = "set serve.expert_parallel: false, or another topology"
    if release and Release("0.11.0rc0") <= release < Release("0.12.0rc1"):
        yield fail("S09", f"expert parallel over Ray fails on vllm-ascend {release}", "vllm-ascend issue 4123", remedy)
    elif layout.pp > 1:
        reason = f"expert parallel with {layout.pp} pipeline stages over Ray was seen to fail (507014)"
        yield warn("S09", reason, "vllm-ascend issue 3529", remedy)


def ray_stages(layout: Layout) -> Iterator[Violation]:
    """S09: over Ray on two A3, tensor parallel was seen to work, pipeline and data parallel to fail [vllm-ascend issue
    10910]."""
    a3 = layout.accelerator.name == "atlas-800-a3"
    if layout.topology == "ray" and a3 and layout.nodes > 1 and (layout.pp > 1 or layout.dp > 1):
        yield warn(
            "S09",
            "on A3, pipeline and data parallel over Ray were seen to fail where tensor parallel worked",
            "vllm-ascend issue 10910",
            "set serve.topology: pipeline-parallel or data-parallel, which need no Ray",
        )


def layers_over_nodes(layout: Layout) -> Iterator[Violation]:
    """T7: no nightly case of upstream cuts an engine over nodes with --nnodes [vllm-ascend nightly configurations]."""
    cut = layout.topology in ("tensor-parallel", "pipeline-parallel") and layout.spans_nodes
    if cut and layout.accelerator.default_devices:
        yield warn(
            "T7",
            f"{layout.topology} over nodes is experimental on Ascend: no nightly case of upstream runs it",
            "vllm-ascend nightly configurations",
            "prefer topology data-parallel where the model fits into one node",
        )


RULES: tuple[Rule, ...] = (
    dense_external,
    hybrid_evidence,
    local_balance,
    external_evidence,
    stages_and_engines,
    xlite_with_stages,
    layer_partition,
    ray_on_cpu,
    ray_evidence,
    ray_experts,
    ray_stages,
    layers_over_nodes,
)
