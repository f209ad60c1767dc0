"""The arguments of every command. A command is named as `module:function`, which is imported only if it is run."""

import argparse
from collections.abc import Container
from typing import TYPE_CHECKING, Any, TypeAlias

from .completion import SHELLS
from .declarations import Kind, Parameter
from .files import DEFAULT_FILE, PLACEHOLDERS
from .flags import OPTION, PARAM, ImageArgument, add_options, add_parameters, count, key_value
from .installed import SERVER_COMMANDS, found_commands, help_of
from .near_misses import Parser
from .parameters import KINDS
from .texts import FileName

EXIT_CODES = "Exit codes: 0 done, 1 the job or the connection failed, 2 used wrongly, 130 interrupted (Ctrl-C)."
_METHODS = {"txt2img": "generate", "img2img": "edit"}
"""The names of commands, and of methods of the client, that are not called after the kind of job."""
_COMMANDS = {"deploy": "deploy-job"}
"""Commands that are called like no method: the server has a command of that name, which needs no server that runs."""


def _command(kind: str) -> str:
    method = _METHODS.get(kind, kind)
    return _COMMANDS.get(method, method.replace("_", "-"))


ALWAYS_OWN = frozenset({
    "generate", "edit", "inpaint", "rewrite", "assist", "batch", "jobs", "images", "search", "duplicates", "provenance",
    "samplers", "upscalers", "loras", "styles", "kinds", "webhooks", "usage", "status", "doctor", "completion",
}) | {_command(kind.name) for kind in KINDS}  # fmt: skip
"""The commands of the client. `models`, `keys` and `config` are the server's where that is installed."""
EVENTS = ("job.started", "job.progress", "job.finished")
DAY_S = 24 * 3600

_MAY_BE_POSITIONAL = {"describe_model": {"model": "NAME"}, "agent": {"brief": "BRIEF"}}
"""By the kind: parameters that may be given at their place or by their flag."""
_RUN = {"agent": "agent:run_agent"}
"""The functions of commands that tell more of their job than others do."""
_POSITIONAL = {"prompt": "PROMPT", "image": "IMAGE", "mask": "MASK"}


if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[Parser]


def arguments_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The flag or the name of each argument by the parameter that it sets."""
    found = {}
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        name = action.dest.removeprefix(PARAM).removeprefix(OPTION)
        found[name] = flags[0] if flags else str(action.metavar)
    return found


def build_parser(version: str) -> Parser:
    """The parser of all commands; `found_commands` are listed without their arguments."""
    parser = Parser(prog="photogram", description="Generate images with a Photogram server.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"photogram {version}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = _common()
    for kind in KINDS:
        _add_kind(commands, common, kind)
    _add_language(commands, common)
    _add_batch(commands, common)
    _add_jobs(commands, common)
    _add_listings(commands, common)
    _add_searching(commands, common)
    _add_webhooks(commands, common)
    _add_help(commands, common)
    found = found_commands()
    for name, entry in found.items():
        if name not in ALWAYS_OWN:
            commands.add_parser(name, help=help_of(entry), add_help=False)
    _add_if_not_found(commands, common, found)
    if missing := [name for name in SERVER_COMMANDS if name not in commands.choices]:
        parser.epilog = f"{EXIT_CODES} The distribution photogram-server adds the commands: {', '.join(missing)}."
    return parser


def _common() -> Parser:
    options = Parser(add_help=False)
    options.add_argument(
        "--url", help="the server's address (default: PHOTOGRAM_URL, then that of the last photogram up)"
    )
    options.add_argument(
        "--api-key",
        help="the API key (default: PHOTOGRAM_API_KEY; the variable is safer, since other users can see arguments)",
    )
    options.add_argument("--json", action="store_true", help="print JSON instead of text")
    return options


def _add(commands: "Commands", common: Parser, name: str, run: str, text: str) -> Parser:
    command: Parser = commands.add_parser(name, parents=[common], help=text, description=text)
    command.set_defaults(run=run, parser=command)
    return command


def _verbs(commands: "Commands", name: str, text: str) -> "Commands":
    command: Parser = commands.add_parser(name, help=text, description=text)
    return command.add_subparsers(title="verbs", metavar="VERB", required=True)


def _add_kind(commands: "Commands", common: Parser, kind: Kind) -> None:
    method = _METHODS.get(kind.name, kind.name)
    text = kind.summary[0].lower() + kind.summary[1:].rstrip(".")
    command = _add(commands, common, _command(kind.name), _RUN.get(kind.name, "drawing:run_kind"), text)
    command.set_defaults(kind=kind.name, method=method)
    optional = _MAY_BE_POSITIONAL.get(kind.name, {})
    arguments = [_POSITIONAL.get(each, each.upper()) for each in kind.required] + [
        f"[{each}]" for each in optional.values()
    ]
    command.usage = " ".join((command.prog, *arguments, "[FLAGS]"))  # the flags are too many for a line
    for name in kind.required:
        _add_positional(command, next(each for each in kind.parameters if each.name == name))
    if kind.result == "images":
        _add_output(command, "the image file: .png, .jpg or .webp; - is standard output, as PNG")
    else:
        command.set_defaults(output=None)
        command.add_argument(
            "--save-to", metavar="FOLDER", type=FileName, default=".",
            help="where files that the job makes go (default: here)",
        )  # fmt: skip
        command.add_argument("--overwrite", action="store_true", help="replace files of the same names")
    if "prompt" in kind.required:
        command.add_argument("-n", metavar="N", type=int, help="how many images; a seed counts up")
    command.add_argument("--dry-run", action="store_true", help="print what the job would be and cost; run nothing")
    add_parameters(command, kind, positional=kind.required, optional=optional, is_any_drawing=kind.name == "txt2img")
    add_options(command)


def _add_positional(command: Parser, parameter: Parameter) -> None:
    is_image = parameter.form == "image" or parameter.name == "mask"
    form: dict[str, Any] = {"type": ImageArgument} if is_image else {}
    if is_image:
        text = "a file, a URL, or an image that the server has; - is standard input"
    else:
        text = "what the image shows; - is standard input" if parameter.name == "prompt" else parameter.text
    metavar = _POSITIONAL.get(parameter.name, parameter.name.upper())
    command.add_argument(PARAM + parameter.name, metavar=metavar, help=text, **form)


def _add_output(parser: Parser, text: str) -> None:
    names = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=FileName,
        help=f"{text}; may contain {names} (default: {DEFAULT_FILE}, or the next free name, such as photogram-2.png)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--no-show", dest="show", action="store_false", help="do not show the image in the terminal")
    parser.add_argument("--open", action="store_true", help="open the file with the desktop's program")


def _add_language(commands: "Commands", common: Parser) -> None:
    rewrite = _add(commands, common, "rewrite", "language:rewrite", "rewrite a prompt without generating an image")
    rewrite.add_argument("prompt", metavar="PROMPT", help="the prompt to rewrite")
    rewrite.add_argument("--model", metavar="NAME", help="the image model that the prompt is for")
    assist = _add(commands, common, "assist", "language:assist", "turn a request in plain words into a job")
    assist.add_argument("message", metavar="MESSAGE", help="the request, in plain words")
    assist.add_argument(
        "--image", metavar="FILE", type=ImageArgument, action="append", default=[],
        help="an image to start from; - is standard input",
    )  # fmt: skip
    assist.add_argument("--draw", action="store_true", help="run the proposed job")
    _add_output(assist, "the image file, with --draw")


def _add_batch(commands: "Commands", common: Parser) -> None:
    text = "run a job for each row of a CSV or JSONL file; run again to resume"
    batch = _add(commands, common, "batch", "batch:run_batch", text)
    columns = "columns are parameters, options of jobs, kind, and file"
    batch.add_argument("table", metavar="TABLE", type=FileName, help=columns)
    where = "where the images go (default: batch)"
    batch.add_argument("--out", metavar="FOLDER", type=FileName, default="batch", help=where)
    batch.add_argument("--parallel", metavar="N", type=int, default=4, help="how many jobs at a time (default: 4)")
    batch.add_argument("--again", action="store_true", help="run all rows again")


def _add_jobs(commands: "Commands", common: Parser) -> None:
    verbs = _verbs(commands, "jobs", "list, show, watch, cancel, tell or delete jobs")
    listing = _add(verbs, common, "list", "jobs:list_jobs", "list the newest jobs")
    listing.add_argument("--status", action="append", metavar="STATUS", help="only these; may be repeated")
    _add_filters(listing)
    listing.add_argument("--limit", metavar="N", type=count, default=20, help="how many at most (default: 20)")
    for name, run, text in (
        ("show", "jobs:get_job", "show a job"),
        ("watch", "jobs:watch_job", "show the progress of a job until it ends"),
        ("cancel", "jobs:cancel_job", "cancel a job"),
    ):
        _add(verbs, common, name, run, text).add_argument("id", metavar="ID", help="the job's id")
    telling = _add(verbs, common, "tell", "jobs:tell_job", "answer an agent job, or say what it shall change")
    telling.add_argument("id", metavar="ID", help="the job's id")
    telling.add_argument("text", metavar="TEXT", help="the answer, or the remark")
    telling.add_argument("--question", metavar="ID", help="the question that is answered, if only that one may be")
    deleting = _add(verbs, common, "delete", "jobs:delete_jobs", "delete jobs with their images")
    deleting.add_argument("ids", metavar="ID", nargs="*", help="the jobs' ids")
    deleting.add_argument("--all", action="store_true", help="all jobs of the API key")


def _add_filters(command: Parser) -> None:
    """The filters of lists, as `filters_of` reads them."""
    for name, text in (("kind", "only these"), ("model", "only these"), ("tag", "all of these")):
        command.add_argument(f"--{name}", action="append", metavar=name.upper(), help=f"{text}; may be repeated")
    command.add_argument(
        "--metadata", action="append", type=key_value, metavar="KEY=VALUE", help="only jobs with these"
    )
    command.add_argument("--search", metavar="WORDS", help="only jobs with all of these words in the prompt")


def _add_searching(commands: "Commands", common: Parser) -> None:
    search = _add(commands, common, "search", "searching:search", "find images of the API key by what they show")
    search.add_argument("text", metavar="TEXT", nargs="?", help="what the images show")
    search.add_argument(
        "--image",
        metavar="FILE",
        type=ImageArgument,
        help="a file, - (standard input), or image:ID of the server's, to find images like it",
    )
    search.add_argument("--like", metavar="ID", help="the id of an image of the API key, to find others like it")
    search.add_argument("--limit", metavar="N", type=count, default=20, help="how many at most (default: 20)")
    search.add_argument("--min-similarity", metavar="X", type=float, help="the least similarity, from -1 to 1")
    where = "download the images that are found into this folder"
    search.add_argument("--save-to", metavar="FOLDER", type=FileName, help=where)
    _add_filters(search)
    duplicates = _add(commands, common, "duplicates", "searching:duplicates", "find images that are nearly equal")
    duplicates.add_argument(
        "--max-distance", metavar="N", type=int, default=4, help="the most bits in which hashes differ (default: 4)"
    )
    duplicates.add_argument("--limit", metavar="N", type=count, default=20, help="how many groups (default: 20)")


def _add_listings(commands: "Commands", common: Parser) -> None:
    images = _add(commands, common, "images", "listings:images", "list the newest images of the API key")
    for name in ("tag", "model"):
        images.add_argument(f"--{name}", action="append", metavar=name.upper(), help="only of jobs with these")
    images.add_argument("--search", metavar="WORDS", help="only of jobs with all of these words in the prompt")
    images.add_argument("--limit", metavar="N", type=count, default=20, help="how many at most (default: 20)")
    text = "list the server's samplers; with --json, those that can be used"
    _add(commands, common, "samplers", "listings:samplers", text)
    for name in ("upscalers", "loras", "styles"):
        _add(commands, common, name, f"listings:{name}", f"list the server's {name}")
    _add(commands, common, "kinds", "listings:kinds", "list the kinds of job that the server has")
    _add(commands, common, "usage", "listings:usage", "what the API key uses and used, and its limits")
    verbs = _verbs(commands, "provenance", "tell where an image comes from")
    verify = _add(verbs, common, "verify", "provenance:verify", "tell what an image carries of its provenance")
    source = "a file, - (standard input), or image:ID of the server's"
    verify.add_argument("image", metavar="FILE", type=ImageArgument, help=source)


def _add_webhooks(commands: "Commands", common: Parser) -> None:
    verbs = _verbs(commands, "webhooks", "have events of jobs sent to a URL")
    _add(verbs, common, "list", "webhooks:list_endpoints", "list the endpoints")
    text = "add an endpoint; the first one prints the signing secret"
    adding = _add(verbs, common, "add", "webhooks:add", text)
    adding.add_argument("endpoint_url", metavar="URL")
    adding.add_argument("--event", action="append", choices=EVENTS, help="may be repeated (default: job.finished)")
    for name, run, text in (
        ("rm", "remove", "delete an endpoint"),
        ("test", "test", "send a test event to an endpoint, and print what it answers"),
        ("log", "log", "print the last attempts at an endpoint"),
        ("on", "switch_on", "switch an endpoint on again"),
    ):
        _add(verbs, common, name, f"webhooks:{run}", text).add_argument(
            "id", metavar="ID", help="the id of the endpoint"
        )
    _add(verbs, common, "dead", "webhooks:dead", "list the deliveries that were given up")
    replay = _add(verbs, common, "replay", "webhooks:replay", "send a delivery again")
    replay.add_argument("id", metavar="ID", help="the id of the delivery")
    rotating = _add(verbs, common, "secret", "webhooks:secret", "make a new signing secret and print it")
    rotating.add_argument("--grace", type=int, default=DAY_S, metavar="S", help="how long earlier ones sign as well")


def _add_help(commands: "Commands", common: Parser) -> None:
    _add(commands, common, "status", "diagnosis:status", "how the gateway, its workers and its models are")
    _add(commands, common, "doctor", "diagnosis:doctor", "look for what is wrong, and say what to do")
    completion: Parser = commands.add_parser("completion", help="print a script that completes commands in a shell")
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=None)


def _add_if_not_found(commands: "Commands", common: Parser, found: Container[str]) -> None:
    """The client's own commands of names that the server's distribution has too."""
    if "models" not in found:
        verbs = _verbs(commands, "models", "list the server's models")
        _add(verbs, common, "list", "listings:models", "list the server's models")
    if "keys" not in found:
        verbs = _verbs(commands, "keys", "list, create and revoke API keys, with an admin's key")
        _add(verbs, common, "list", "listings:keys", "list the API keys")
        creating = _add(verbs, common, "create", "listings:create_key", "create an API key and print it once")
        creating.add_argument("name", metavar="NAME", help="what the key is for")
        creating.add_argument("--scope", action="append", choices=("submit", "read", "admin"), help="may be repeated")
        revoking = _add(verbs, common, "revoke", "listings:revoke_key", "refuse an API key from now on")
        revoking.add_argument("id", metavar="ID", help="the key's id")
    if "config" not in found:
        verbs = _verbs(commands, "config", "show the client's settings")
        _add(verbs, common, "show", "settings:show", "show the client's settings")
