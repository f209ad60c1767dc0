"""The figures of deployed packages as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from photogram_runtime.errors import PackageError
from photogram_runtime.package import is_recipe

from models.deploy.profiling_keys import BUILT_IN, DEPLOYED, TORCH, speed
from models.downloads.space import in_words


def summary_line(model: str, target: str, manifest: Mapping[str, Any] | PackageError) -> str:
    """One line: whether a package is served, its PSNR, its speed and its size."""
    title = f"{model:24} {target:18}"
    if isinstance(manifest, PackageError):
        return f"{title} damaged: {manifest}"
    checks = manifest["checks"]
    if is_recipe(manifest):
        return f"{title} recipe only (not run here)"
    state = "passed" if checks.get("passed") else "forced" if checks.get("forced") else "not served"
    size = in_words(sum(each["bytes"] for each in manifest["files"].values()))
    return f"{title} {state:10} {_psnr(checks):>12} {_ratio(manifest['profile']):>22} {size:>10}"


def _psnr(checks: Mapping[str, Any]) -> str:
    if "agreement" in checks:
        return f"{checks['agreement']['cosine']:.5f}"
    lowest = checks.get("lowest_psnr_db")
    return "equal" if lowest is None else f"{lowest:.1f} dB"


def _ratio(profile: Mapping[str, Any]) -> str:
    torch, found = speed(profile, TORCH), speed(profile, DEPLOYED)
    return f"{found / torch:.2f}x torch" if torch and found else ""


def show_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """All that people want to know of a package."""
    yield f"{manifest['model']} ({manifest['family']}) for {manifest['backend']}, {manifest['precision']}"
    sizes = {name: each["bytes"] for name, each in manifest["files"].items()}
    for name, part in manifest["parts"].items():
        stem = part["file"].rpartition(".")[0]
        size = sum(bytes_ for file, bytes_ in sizes.items() if file.rpartition(".")[0] == stem)
        yield f"  {name:18} {in_words(size):>10}"
    yield from check_lines(manifest["checks"])
    yield from figure_lines(manifest["profile"])


def check_lines(checks: Mapping[str, Any]) -> Iterator[str]:
    """What the checks found."""
    if is_recipe({"checks": checks}):
        yield f"checks: recipe only (not run here): {checks.get('why', '')}"
        return
    for name, each in checks.get("parts", {}).items():
        error, largest = _error(each["relative"]), _error(each["max_abs"])
        yield f"  {name:18} relative error {error}, largest {largest}, {each['calls']} calls"
    if agreement := checks.get("agreement"):
        same = "" if agreement["top_1"] is None else f"same label {agreement['top_1']:.1%}, "
        if agreement.get("score_error") is not None:  # packages of earlier versions have none
            same += f"scores off by {agreement['score_error']:.2g}, "
        yield f"  {same}lowest cosine {agreement['cosine']:.6f}, {agreement['images']} images"
    for each in checks.get("images", ()):
        psnr = "equal" if each["psnr_db"] is None else f"{each['psnr_db']:.1f} dB"
        score = "" if each["score"] is None else f", fits its prompt {each['score']:.3f} ({each['score_of_torch']:.3f})"
        yield f"  {each['title']:18} {psnr}, SSIM {each['ssim']:.4f}{score}"
    yield "checks: passed" if checks.get("passed") else "checks: NOT PASSED"
    yield from (f"  {failure}" for failure in checks.get("failures", ()))


def _error(value: float | None) -> str:
    """``deploy.json`` has no infinities."""
    return "infinite" if value is None else f"{value:.2g}"


def figure_lines(profile: Mapping[str, Any]) -> Iterator[str]:
    """What was measured."""
    if "image" in profile:
        yield f"speed: {profile['image']}, {profile.get('rounds', 1)} rounds"
    for name in (TORCH, BUILT_IN, DEPLOYED):
        if name in profile:
            each = profile[name]
            rates = ", ".join(f"{rate:.2f} images/s with {size}" for size, rate in each.get("images_per_s", {}).items())
            alone = (
                f"p50 {each['p50_s']:.3f} s, p99 {each['p99_s']:.3f} s; " if {"p50_s", "p99_s"} <= each.keys() else ""
            )
            yield f"  {name:10} {alone}{rates}"
    if "load_s" in profile:
        memory = f"; peak memory {in_words(profile['peak_bytes'])}" if "peak_bytes" in profile else ""
        yield f"  loaded in {profile['load_s']:.2f} s{memory}"
