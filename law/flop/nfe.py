"""How often a sampler evaluates the model: NFE, the number of function evaluations.

For ComfyUI's samplers over a full schedule (it ends at sigma 0, so the last step is one
evaluation). Guidance runs the model twice in an evaluation; that is :func:`model_calls`.
"""

from __future__ import annotations

import math

ONE_PER_STEP = frozenset(
    {
        "euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "lms", "dpm_fast",
        "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun",
        "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm", "lcm", "ipndm",
        "ipndm_v", "deis", "res_multistep", "res_multistep_cfg_pp", "res_multistep_ancestral",
        "res_multistep_ancestral_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp",
        "er_sde", "sa_solver", "ddim", "uni_pc", "uni_pc_bh2",
    }
)  # fmt: skip
TWO_PER_STEP = frozenset(
    {
        "heun", "exp_heun_2_x0", "exp_heun_2_x0_sde", "dpm_2", "dpm_2_ancestral",
        "dpmpp_2s_ancestral", "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "dpmpp_sde_gpu", "seeds_2",
        "sa_solver_pece",
    }
)  # fmt: skip
THREE_PER_STEP = frozenset({"seeds_3"})


class UnknownNfeError(ValueError):
    """The number of evaluations of this sampler cannot be told before it has run."""


def function_evaluations(sampler: str, steps: int) -> int:
    """NFE of ``steps`` steps of ``sampler`` (ComfyUI's key).

    Raises:
        UnknownNfeError: ``dpm_adaptive``, which chooses its own steps, or a sampler not known here.
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if sampler in ONE_PER_STEP:
        return steps
    if sampler in TWO_PER_STEP:
        return 2 * steps - 1
    if sampler in THREE_PER_STEP:
        return 3 * steps - 2
    if sampler == "heunpp2":
        # 3 in every step but the last two, which make 2 and 1.
        return 3 * steps - 3 if steps > 1 else 1
    if sampler == "dpm_adaptive":
        raise UnknownNfeError(
            "dpm_adaptive chooses its own steps, so their number is known only after the run; "
            "choose another sampler"
        )
    raise UnknownNfeError(
        f"the sampler {sampler!r} is not known here; give the FLOPs of the closest sampler that "
        "makes as many evaluations per step"
    )


def model_calls(sampler: str, cfg: float) -> int:
    """Times the model runs in one function evaluation: 2 under guidance, else 1.

    ComfyUI skips the unconditional pass at cfg 1, except in the ``_cfg_pp`` samplers, which need
    its result.

    Raises:
        ValueError: a scale that is negative or no number.
    """
    if not math.isfinite(cfg) or cfg < 0:
        raise ValueError(f"cfg must be 0 or more, got {cfg:g}")
    return 1 if math.isclose(cfg, 1.0) and not sampler.endswith("_cfg_pp") else 2
