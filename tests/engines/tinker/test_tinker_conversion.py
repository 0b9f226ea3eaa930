"""The project's nouns in Tinker's words and back: pure, so no server is needed."""

import math
from typing import TYPE_CHECKING

import pytest

tinker = pytest.importorskip("tinker")

from espl_bench.engines.engine import AdamParams  # noqa: E402
from espl_bench.engines.tinker import conversion  # noqa: E402
from espl_bench.errors import EngineError  # noqa: E402
from espl_bench.learning.loss_spec import LossSpec  # noqa: E402
from espl_bench.learning.losses import default_loss  # noqa: E402
from espl_bench.types import Datum, SampleRequest, StopReason  # noqa: E402

if TYPE_CHECKING:
    from tinker import TensorData

DATUM = Datum(
    tokens_T=(5, 6, 7, 8, 9),
    mask_T=(False, False, True, False, True),
    logprobs_T=(0.0, 0.0, -0.5, 0.0, -1.5),
    advantage=2.0,
    temperature=1.0,
)
"""Two turns: the second sampled token stands behind one of the user's."""


def tensor(values: list[float]) -> "TensorData":
    return tinker.TensorData(data=values, dtype="float32", shape=[len(values)])


def test_a_datum_predicts_the_next_token_and_weighs_only_what_was_sampled():
    wire = conversion.wire_datum(DATUM)
    assert wire.model_input.to_ints() == [5, 6, 7, 8]
    inputs = {name: value.data for name, value in wire.loss_fn_inputs.items()}
    assert inputs == {"target_tokens": [6, 7, 8, 9], "logprobs": [0.0, -0.5, 0.0, -1.5], "advantages": [0.0, 2.0, 0.0, 2.0]}


def test_metrics_are_those_of_the_sampled_tokens():
    trainer = tensor([-7.0, -0.5 + math.log(2), -7.0, -1.5])
    found = conversion.metrics([DATUM], [{"logprobs": trainer}], {"some.service/grad_norm": 3.0}, LossSpec())
    assert found["loss"] == pytest.approx(-(2.0 * 2.0 + 2.0))
    assert found["ratio_mean"] == pytest.approx(1.5)
    assert found["kl_sampler"] == pytest.approx(-math.log(2) / 2)
    assert found["entropy"] == pytest.approx(-(-0.5 + math.log(2) - 1.5) / 2)
    assert (found["grad_norm"], found["skipped_steps"]) == (3.0, 0.0)
    clipped = conversion.metrics([DATUM], [{"logprobs": trainer}], None, default_loss("ppo"))
    assert clipped["clip_fraction"] == 0.5
    assert "grad_norm" not in clipped, "no key of the service's is required"


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({}, "returned 0 log-probabilities"),
        ({"logprobs": tensor([0.0])}, "returned 1"),
        ({"logprobs": tensor([0, math.nan, 0, 0])}, "not finite"),
    ],
)
def test_what_a_step_cannot_be_judged_by_is_a_fault(output: dict, says: str):
    with pytest.raises(EngineError, match=says):
        conversion.metrics([DATUM], [output], {}, LossSpec())


def test_a_request_is_sent_with_its_seed_limit_and_stops():
    request = SampleRequest(prompt_T=(1, 2), seed=2**62 + 5, max_tokens=9, temperature=0.7, top_p=0.95)
    params = conversion.sampling_params(request, (3, 4), 7)
    assert (params.seed, params.max_tokens, params.stop) == (5, 7, [3, 4])
    assert (params.temperature, params.top_p) == (0.7, 0.95)


def test_a_completion_needs_a_log_probability_for_every_token():
    sequence = tinker.SampledSequence(stop_reason="stop", sequence_id="a", _tokens_list=[1, 2], _logprobs_list=[-1.0, -2.0])
    completion = conversion.completion(sequence, "text")
    assert (completion.tokens_T, completion.logprobs_T, completion.text) == ((1, 2), (-1.0, -2.0), "text")
    assert (completion.stop_reason, completion.usage) == (StopReason.STOP, None)
    silent = tinker.SampledSequence(stop_reason="length", sequence_id="a", _tokens_list=[1, 2])
    with pytest.raises(EngineError, match="0 log-probabilities for 2 tokens"):
        conversion.completion(silent, "")


def test_the_optimiser_and_the_clips_are_sent_as_they_are():
    adam = conversion.adam_params(AdamParams(lr=1e-3, grad_clip=0.5))
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.eps) == (1e-3, 0.9, 0.95, 1e-8)
    assert (adam.grad_clip_norm, adam.weight_decay) == (0.5, 0.0)
    assert conversion.loss_config(LossSpec()) is None
    assert conversion.loss_config(default_loss("cispo")) == {"clip_low_threshold": 0.0, "clip_high_threshold": 4.0}
