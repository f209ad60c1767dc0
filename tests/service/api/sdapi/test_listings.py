"""A1111's listings have only what can be used."""

from __future__ import annotations


def test_lists_have_what_can_be_used(cataloged):
    def names(path: str, key: str) -> list[str]:
        return [each[key] for each in cataloged.client.get(f"/sdapi/v1/{path}").json()]

    assert names("upscalers", "name") == ["None", "Lanczos", "Nearest", "R-ESRGAN 4x+"]
    assert names("realesrgan-models", "name") == ["R-ESRGAN 4x+"]
    assert names("sd-models", "model_name") == ["house", "fine", "base one"]
    embeddings = cataloged.client.get("/sdapi/v1/embeddings").json()
    assert (list(embeddings["loaded"]), list(embeddings["skipped"])) == (["good"], ["lost"])
