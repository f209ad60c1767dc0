"""``photogram llm``: install the language engine, list the presets, and serve one."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from photogram_cli.near_misses import Parser
from photogram_cli.texts import FileName

from models.language.presets import PRESETS, SMOLLM2, Preset
from service.backbone.configuration import configure
from service.backbone.data_option import add_data_option
from service.backbone.settings import Settings, SettingsError
from service.llm.command import cpu_environment, cpu_program, is_recurrent, rwkv_command, vllm_command
from service.llm.install import EngineMissing, engine_python, install, model_folder


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code: 1 after an error, which is printed to standard error."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        return run(options, configure(flags={"data": options.data}).settings)
    except (SettingsError, EngineMissing, OSError) as error:
        print(f"photogram llm: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="photogram llm", description="The language model that rewrites prompts.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    installing = commands.add_parser("install", help="install the engine that `photogram up` starts")
    installing.add_argument(
        "--venv", type=Path, metavar="DIR", help="folder of the engine's environment (default: beside Photogram's)"
    )
    installing.set_defaults(run=install_engine)
    commands.add_parser("presets", help="list the known models").set_defaults(run=list_presets)
    serving = commands.add_parser("serve", help="serve a model until stopped")
    serving.add_argument("preset", choices=[preset.name for preset in PRESETS.values() if preset.repository])
    serving.add_argument(
        "--model", type=FileName, help="a folder or a repository (default: the preset's); for RWKV a .pth file"
    )
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    serving.add_argument("--port", type=int, default=8001, help="port to listen on (default: 8001)")
    serving.add_argument("--served-model-name", help="the model's name in requests (default: the preset's)")
    serving.set_defaults(run=serve)
    add_data_option(parser)
    return parser


def install_engine(options: argparse.Namespace, settings: Settings) -> int:
    try:
        if settings.llm == "off":
            raise EngineMissing("PHOTOGRAM_LLM is off")
        install(settings.llm_folder, options.venv, say=lambda text: print(text, file=sys.stderr, flush=True))
    except (EngineMissing, OSError) as error:
        raise EngineMissing(f"prompt rewriting is off: {error}") from error
    return 0


def list_presets(options: argparse.Namespace, settings: Settings) -> int:
    """Print the presets, one paragraph each."""
    for preset in PRESETS.values():
        memory = f", about {preset.memory_gib:g} GiB" if preset.memory_gib else ""
        print(f"{preset.name}: {preset.repository or 'any model'}")
        print(f"    engine {preset.engine}{memory}, tools {_tools(preset)}, licence {preset.licence}")
        print(f"    {preset.limits}")
    return 0


def _tools(preset: Preset) -> str:
    return "none" if preset.is_small else preset.tool_dialect


def serve(options: argparse.Namespace, settings: Settings) -> int:
    """Replace this process with the server of a preset's model."""
    preset = PRESETS[options.preset]
    address = {"host": options.host, "port": options.port, "name": options.served_model_name or preset.name}
    if is_recurrent(preset):
        if options.model is None:
            raise EngineMissing(f"{preset.name} needs --model, one of the .pth files of {preset.repository}")
        command, environment = rwkv_command(model=options.model, **address), dict(os.environ)
    else:
        program, environment, flags = _vllm(options.model or _own_model(preset, settings), settings)
        command = vllm_command(program, preset, flags=flags, **address)
    os.execvpe(command[0], command, environment)


def _vllm(model: str, settings: Settings) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
    """The vLLM on the PATH, which fits this machine's accelerator; else the installed one for CPUs."""
    found = shutil.which("vllm")
    if found is not None:
        return [found, "serve", model], dict(os.environ), ()
    return cpu_program(engine_python(settings.llm_folder), model), cpu_environment(os.environ), ("--enforce-eager",)


def _own_model(preset: Preset, settings: Settings) -> str:
    """The preset's repository, or the converted folder of the built-in model."""
    return str(model_folder(settings.llm_folder) if preset is SMOLLM2 else preset.repository)


if __name__ == "__main__":
    sys.exit(main())
