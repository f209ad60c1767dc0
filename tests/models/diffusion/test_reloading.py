"""An engine takes up packages that are published or removed while it runs, without a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from models.catalog.catalog import ModelSpec
from models.deploy.store import PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.engine import Engine
from tests.models.diffusion.rig import Studio, add_row, images, params, run


def publish(store: PackageStore, model: str) -> None:
    with store.writing(model, "openvino-f32") as folder:
        (folder / "deploy.json").write_text("{}")


def test_a_model_is_loaded_anew_when_its_packages_changed_and_no_row_draws_with_it(
    tiny_sd: Studio, tmp_path: Path
) -> None:
    store, loads = PackageStore(tmp_path), []

    def load(spec: ModelSpec) -> Checkpoint:
        loads.append(store.targets(spec.name))
        return replace(tiny_sd.checkpoint)

    engine, wanted = Engine(load, packages=tmp_path), params()
    try:
        add_row(engine, "first", wanted, tiny_sd.spec)
        while engine.running == 0 or not loads:
            engine.step()
        publish(store, wanted.model)
        add_row(engine, "second", wanted, tiny_sd.spec)
        drawn = images(run(engine))
        assert loads == [[]], "a row drew with it"
        add_row(engine, "third", wanted, tiny_sd.spec)
        drawn |= images(run(engine))
        assert loads == [[], ["openvino-f32"]]
        store.remove(wanted.model, "openvino-f32")
        add_row(engine, "fourth", wanted, tiny_sd.spec)
        drawn |= images(run(engine))
        assert loads == [[], ["openvino-f32"], []] and len(engine.loaded) == 1
    finally:
        engine.close()
    assert len(drawn) == 4 and all(tiny_sd.off_by(wanted, image) <= 1 for image in drawn.values())
