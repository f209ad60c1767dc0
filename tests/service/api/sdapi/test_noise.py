"""Numbers about the noise are accepted wherever they change nothing, and eta 0 draws without noise."""

from __future__ import annotations

import json

import pytest

from models.catalog.samplers import SAMPLERS
from service.api.sdapi.noise import adds_noise, churns, is_usual_eta, sampler_at_eta


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_eta_0_is_accepted_with_every_sampler(sampler):
    assert is_usual_eta(0, sampler) and is_usual_eta(1, sampler) and is_usual_eta(None, sampler)
    drawn, comment = sampler_at_eta(sampler, 0)
    assert drawn in SAMPLERS and (comment is not None) == (adds_noise(sampler) and sampler != "LCM")
    assert not adds_noise(drawn) or drawn == sampler
    assert sampler_at_eta(sampler, 1) == sampler_at_eta(sampler, None) == (sampler, None)


def test_the_sampler_without_noise_keeps_its_layout():
    assert sampler_at_eta("Euler a", 0)[0] == "Euler"
    assert sampler_at_eta("DPM2 a Karras", 0)[0] == "DPM2 Karras"
    assert sampler_at_eta("DPM++ 2M SDE Exponential", 0)[0] == "DPM++ 2M Exponential"
    assert sampler_at_eta("DPM++ SDE Karras", 0)[0] == "DPM++ SDE Karras"


def test_churn_matters_to_three_solvers():
    assert {name for name in SAMPLERS if churns(name)} == {
        name for name in SAMPLERS if name.split()[0] in ("Euler", "Heun", "DPM2") and " a" not in name
    }
    assert not churns(None)


@pytest.mark.parametrize(
    ("fields", "sampler"),
    [
        ({"sampler_name": "Euler a", "eta": 0, "s_churn": 0, "s_noise": 1, "s_tmin": 0, "s_tmax": 0}, "Euler"),
        ({"sampler_index": "DPM++ SDE Karras", "eta": 0.0}, "DPM++ SDE Karras"),
        ({"sampler_name": "DDIM", "eta": 0}, "DDIM"),
        ({"sampler_name": "Euler", "eta": 0.667, "s_noise": 1.003}, "Euler"),
        ({"sampler_name": "Euler a", "s_churn": 5}, "Euler a"),
        ({"sampler_name": "LCM", "eta": 0.3}, "LCM"),
    ],
)
def test_what_generated_clients_send_is_drawn(calls, fields, sampler):
    (record,), answer = calls.jobs("/sdapi/v1/txt2img", prompt="a cat", **fields)
    assert record.params.sampler == sampler
    assert ("eta 0" in json.loads(answer["info"]).get("comments", "")) == (fields.get("eta") == 0 and sampler != "DDIM")
