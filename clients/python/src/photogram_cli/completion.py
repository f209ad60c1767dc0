"""The command `photogram completion`: scripts that complete commands, flags and their choices in a shell."""

import argparse
from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")
Words = dict[str, tuple[str, ...]]


def completion(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for `shell`, of all commands of `parser`; `eval "$(photogram completion bash)"` uses it."""
    words = dict(_words(parser, ""))
    return _fish(words) if shell == "fish" else _bash(words, is_zsh=shell == "zsh")


def _words(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The words that may follow each command, and each flag with choices, by `command` and `command --flag`."""
    found: list[str] = []
    for action in parser._actions:
        found += [flag for flag in action.option_strings if flag.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            found += action.choices
            for name, command in action.choices.items():
                yield from _words(command, f"{path} {name}".strip())
        elif action.choices:
            for flag in action.option_strings:
                yield f"{path} {flag}".strip(), tuple(map(str, action.choices))
    yield path, tuple(found)


def _bash(words: Words, *, is_zsh: bool) -> str:
    cases = "\n".join(f'    "{path}") words="{" ".join(found)}" ;;' for path, found in words.items() if path)
    head = "autoload -U +X bashcompinit && bashcompinit\n" if is_zsh else ""
    return f"""{head}_photogram() {{
  local words="" path="" last="${{COMP_WORDS[COMP_CWORD-1]}}" each
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$each" in -*) ;; *) [ -n "$(_photogram_words "$path $each")" ] && path="$path $each" ;; esac
  done
  case "$last" in -*) words="$(_photogram_words "$path $last")" ;; esac
  [ -n "$words" ] || words="$(_photogram_words "$path")"
  [ -n "$path" ] || words="{" ".join(words[""])}"
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
_photogram_words() {{
  local words=""
  case "${{1# }}" in
{cases}
  esac
  echo "$words"
}}
complete -o default -F _photogram photogram"""


def _fish(words: Words) -> str:
    lines = []
    for path, found in words.items():
        commands = [each for each in path.split() if not each.startswith("-")]
        seen = "; and ".join(f"__fish_seen_subcommand_from {each}" for each in commands) or "__fish_use_subcommand"
        flag = next((each for each in path.split() if each.startswith("--")), None)
        if flag is not None:
            lines.append(f"complete -c photogram -n '{seen}' -l {flag[2:]} -x -a '{' '.join(found)}'")
        elif not path.split()[-1:] or not path.split()[-1].startswith("-"):
            plain = " ".join(each for each in found if not each.startswith("-"))
            lines += [f"complete -c photogram -n '{seen}' -a '{plain}'"] if plain else []
            lines += [f"complete -c photogram -n '{seen}' -l {each[2:]}" for each in found if each.startswith("--")]
    return "\n".join(lines)
