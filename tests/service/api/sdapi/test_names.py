"""A1111's names of models."""

from __future__ import annotations


def test_a_model_is_known_by_all_its_names(cataloged):
    shown = cataloged.client.get("/sdapi/v1/sd-models").json()[2]
    assert shown["title"] == f"base one.safetensors [{shown['hash']}]" and shown["filename"] == "base one.safetensors"
    for name in (shown["title"], shown["hash"], "base one", "base one.ckpt [0123456789]", " base one ",
                 "Base One.SafeTensors", shown["hash"].upper()):  # fmt: skip
        params = cataloged.job("txt2img", override_settings={"sd_model_checkpoint": name}).params
        assert params.model == "base one"
