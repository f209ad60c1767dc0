"""The command `photogram`: its arguments, its exit codes (0 done, 1 failed, 2 used wrongly, 130 interrupted)."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from rich.console import Console

from ._cli_files import DEFAULT_FILE, Output, check_one_standard_input, image_of, output_of, text_of
from ._cli_jobs import add_verbs
from ._cli_output import (
    display_for,
    image_json,
    image_lines,
    proposal_lines,
    provenance_lines,
    rewritten_lines,
    to_json,
)
from ._cli_terminal import show
from ._cli_webhooks import add_webhooks_command
from ._client import Photogram
from ._commands import SERVER_COMMANDS, CommandBroken, found_commands, help_of, load
from ._errors import ConnectionFailed, InvalidParams, PhotogramError
from ._language import Proposal
from ._params import Params
from ._user_config import noted_url
from ._version import __version__

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130

# Fewer than in the SDK, so that a user learns within a few seconds that no server is running.
_MAX_RETRIES = 3

_OWN_COMMANDS = frozenset({"generate", "rewrite", "assist", "jobs", "provenance", "samplers", "webhooks"})
_EXIT_CODES = "Exit codes: 0 done, 1 the job or the connection failed, 2 used wrongly, 130 interrupted (Ctrl-C)."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is without the program's name."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] not in _OWN_COMMANDS:
        code = _run_found(arguments[0], arguments[1:])
        if code is not None:
            return code
    options = _parser().parse_args(arguments)
    return _run_own(options)


def _run_found(name: str, rest: list[str]) -> int | None:
    """Run an installed command and return its exit code; None if `name` is not one."""
    entry = found_commands().get(name)
    if entry is not None:
        try:
            command = load(entry)
        except CommandBroken as error:
            return _fail(str(error), FAILED)
        return command(rest)
    if name in SERVER_COMMANDS:
        return _fail(f"{name!r} needs the server: install the distribution photogram-server", MISUSED)
    return None


def _run_own(options: argparse.Namespace) -> int:
    run: Callable[[argparse.Namespace, Photogram], None] = options.run
    try:
        url = options.url or os.environ.get("PHOTOGRAM_URL") or noted_url()
        client = Photogram(url, options.api_key, max_retries=_MAX_RETRIES)
        with client:
            run(options, client)
    except ConnectionFailed as error:
        hint = "; start a server with: photogram up" if error.url.startswith(client.base_url) else ""
        return _fail(f"{error}{hint}", FAILED)
    except InvalidParams as error:
        return _fail(_in_arguments(error, options.arguments), FAILED)
    except (PhotogramError, OSError) as error:
        return _fail(str(error), FAILED)
    except ValueError as error:
        return _fail(str(error), MISUSED)
    return DONE


def _in_arguments(error: InvalidParams, arguments: Mapping[str, str]) -> str:
    """The problems of the parameters, each with the argument that gave the parameter."""
    texts = []
    for problem in error.problems:
        name = problem.field.removeprefix("params.").partition(".")[0].partition("[")[0]
        texts.append(f"{arguments.get(name, problem.field)}: {problem.message}")
    return "; ".join(texts) or str(error)


def _arguments_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The flag or the name of each argument by its parameter."""
    found = {}
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        found[action.dest] = flags[0] if flags else str(action.metavar)
    return found


def _generate(options: argparse.Namespace, client: Photogram) -> None:
    params: Params = {
        "negative_prompt": options.negative_prompt,
        "model": options.model,
        "sampler": options.sampler,
        "num_inference_steps": options.num_inference_steps,
        "guidance_scale": options.guidance_scale,
        "seed": options.seed,
        "width": options.width,
        "height": options.height,
        "strength": options.strength,
        "enhance_prompt": options.enhance_prompt,
    }
    check_one_standard_input(options.prompt, options.image, options.mask)
    output = output_of(options.output, options.json, overwrite=options.overwrite)
    if options.image is not None:
        params["image"] = image_of(options.image)
    if options.mask is not None:
        params["mask"] = image_of(options.mask)
    _draw(client, text_of(options.prompt), params, output, options)


def _draw(
    client: Photogram, prompt: str | Proposal, params: Params, output: Output, options: argparse.Namespace
) -> None:
    began = time.monotonic()
    with display_for(Console(stderr=True)) as display:
        image = client.generate(prompt, on_event=display.show, **params)
    wanted = output.file_format
    output = output.write(image.data if wanted == "png" else client.download(image.job, file_format=wanted).data)
    total_s = time.monotonic() - began
    proposal = prompt if isinstance(prompt, Proposal) else None
    lines = [image_json(image, output, total_s, proposal)] if options.json else image_lines(image, output, total_s)
    if options.show and not options.json and output.path:
        show(image.data, Console())
    _print(lines, sys.stdout if output.path else sys.stderr)


def _rewrite(options: argparse.Namespace, client: Photogram) -> None:
    rewritten = client.rewrite(text_of(options.prompt), model=options.model)
    _print([to_json(asdict(rewritten))] if options.json else rewritten_lines(rewritten))


def _assist(options: argparse.Namespace, client: Photogram) -> None:
    if options.output is not None and not options.draw:
        raise ValueError("--output needs --draw, which generates the image")
    check_one_standard_input(options.message, *options.image)
    output = output_of(options.output, options.json, overwrite=options.overwrite) if options.draw else None
    proposal = client.assist(text_of(options.message), images=[image_of(each) for each in options.image])
    if not options.json:
        _print(proposal_lines(proposal), sys.stdout if output is None or output.path else sys.stderr)
    elif not options.draw:
        _print([to_json(asdict(proposal))])
    if output is not None:
        _draw(client, proposal, {}, output, options)


def _jobs(options: argparse.Namespace, client: Photogram) -> None:
    _print(options.lines(options, client))


def _verify_provenance(options: argparse.Namespace, client: Photogram) -> None:
    found = client.verify_provenance(image_of(options.image))
    _print([to_json(asdict(found))] if options.json else provenance_lines(found))


def _samplers(options: argparse.Namespace, client: Photogram) -> None:
    found = client.samplers()
    if options.json:
        _print([to_json([sampler.name for sampler in found if sampler.problem is None])])
    else:
        _print(each.name if each.problem is None else f"{each.name} (unusable: {each.problem})" for each in found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="photogram", description="Generate images with a Photogram server.")
    parser.epilog = _EXIT_CODES
    parser.add_argument("--version", action="version", version=f"photogram {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = _common_options()

    generate = commands.add_parser("generate", parents=[common], help="generate an image and save it")
    _add_generate_options(generate)
    generate.set_defaults(run=_generate, arguments=_arguments_of(generate))

    _add_language_commands(commands, common)

    jobs = commands.add_parser("jobs", help="list, show, watch, cancel or delete jobs")
    for command in add_verbs(jobs, common):
        command.set_defaults(run=_jobs, arguments=_arguments_of(command))

    provenance = commands.add_parser("provenance", help="tell where an image comes from")
    verbs = provenance.add_subparsers(title="verbs", metavar="VERB", required=True)
    verify = verbs.add_parser("verify", parents=[common], help="tell what an image carries of its provenance")
    verify.add_argument("image", metavar="FILE", help="a file, - (standard input), or image:ID of the server's")
    verify.set_defaults(run=_verify_provenance, arguments=_arguments_of(verify))

    samplers = commands.add_parser(
        "samplers", parents=[common], help="list the server's samplers; with --json, those that can be used"
    )
    samplers.set_defaults(run=_samplers, arguments=_arguments_of(samplers))

    add_webhooks_command(commands, common)

    found = found_commands()
    for name, entry in found.items():
        if name not in _OWN_COMMANDS:
            commands.add_parser(name, help=help_of(entry), add_help=False)
    if missing := [name for name in SERVER_COMMANDS if name not in found]:
        parser.epilog += f" The distribution photogram-server adds the commands: {', '.join(missing)}."
    return parser


def _add_language_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    rewrite = commands.add_parser("rewrite", parents=[common], help="rewrite a prompt without generating an image")
    rewrite.add_argument("prompt", metavar="PROMPT", help="the prompt to rewrite")
    rewrite.add_argument("--model", metavar="NAME", help="the image model that the prompt is for")
    rewrite.set_defaults(run=_rewrite, arguments=_arguments_of(rewrite))

    assist = commands.add_parser("assist", parents=[common], help="turn a request in plain words into a job")
    assist.add_argument("message", metavar="MESSAGE", help="the request, in plain words")
    assist.add_argument(
        "--image", metavar="FILE", action="append", default=[], help="an image to start from; - is standard input"
    )
    assist.add_argument("--draw", action="store_true", help="run the proposed job")
    _add_output_options(assist, "the image file, with --draw")
    assist.set_defaults(run=_assist, arguments=_arguments_of(assist))


def _common_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--url", help="the server's address (default: PHOTOGRAM_URL, then that of the last photogram up)"
    )
    options.add_argument(
        "--api-key",
        help="the API key (default: PHOTOGRAM_API_KEY; the variable is safer, since other users can see arguments)",
    )
    options.add_argument("--json", action="store_true", help="print JSON instead of text")
    return options


def _add_output_options(parser: argparse.ArgumentParser, text: str) -> None:
    default = f"(default: {DEFAULT_FILE}, or the next free name, such as photogram-2.png)"
    parser.add_argument("-o", "--output", metavar="FILE", help=f"{text} {default}")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--no-show", dest="show", action="store_false", help="do not show the image in the terminal")


def _add_generate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="what the image shows; - reads it from standard input")
    _add_output_options(parser, "the image file: .png, .jpg or .webp; - is standard output, as PNG")
    parser.add_argument("--image", metavar="FILE", help="the image to start from: a file, a URL, or - (standard input)")
    parser.add_argument("--mask", metavar="FILE", help="the part of --image to draw anew, likewise")
    parser.add_argument("--strength", metavar="N", type=float, help="how much of --image changes, 0 to 1")
    enhance = "let the language model rewrite the prompt, or not (default: the preference of the API key)"
    parser.add_argument("--enhance", dest="enhance_prompt", action=argparse.BooleanOptionalAction, help=enhance)
    parser.add_argument("--negative-prompt", metavar="TEXT", help="what the image must not contain")
    parser.add_argument("--model", metavar="NAME", help="the model's name (see photogram models list)")
    parser.add_argument("--sampler", metavar="NAME", help="the sampler's name (see photogram samplers)")
    parser.add_argument("--steps", dest="num_inference_steps", metavar="N", type=int, help="number of denoising steps")
    parser.add_argument(
        "--guidance", dest="guidance_scale", metavar="SCALE", type=float, help="classifier-free guidance scale"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="the same seed gives the same image")
    parser.add_argument("--width", metavar="PX", type=int, help="width in pixels")
    parser.add_argument("--height", metavar="PX", type=int, help="height in pixels")


def _print(lines: Iterable[str], file: TextIO | None = None) -> None:
    for line in lines:
        print(line, file=file or sys.stdout)


def _fail(text: str, code: int) -> int:
    print(f"photogram: {' '.join(text.split())}", file=sys.stderr)
    return code
