import { assertNever } from "@quorate/core";
import { type CommandWord, type FlagWord, flatten } from "./tree.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** A completion script for a shell. It runs nothing of ours: all words are in it. */
export function completionScript(shell: Shell, root: CommandWord): string {
  switch (shell) {
    case "bash":
      return bashScript(root);
    case "zsh":
      return zshScript(root);
    case "fish":
      return fishScript(root);
    default:
      return assertNever(shell);
  }
}

/** Every path there is, as alternatives of a shell's `case`. */
function pathsOf(root: CommandWord): string {
  return flatten(root)
    .map(({ path }) => path)
    .filter((path) => path !== "")
    .join("|");
}

/** Flags with a value, with what may be the value: choices, or nothing known, which means a file. */
function valueCases(root: CommandWord): readonly { pattern: string; choices: readonly string[] }[] {
  return flatten(root).flatMap(({ path, flags }) =>
    flags
      .filter(({ takesValue }) => takesValue)
      .map(({ words, choices }) => ({
        pattern: words.map((word) => `"${path} ${word}"`).join("|"),
        choices,
      })),
  );
}

const allFlags = (flags: readonly FlagWord[]): readonly string[] =>
  flags.flatMap(({ words }) => words);

function bashScript(root: CommandWord): string {
  const words = flatten(root).map(({ path, children, flags }) => {
    const all = [...children.map(({ name }) => name), ...allFlags(flags)];
    return `    "${path}") words="${all.join(" ")}" ;;`;
  });
  const values = valueCases(root).map(({ pattern, choices }) =>
    choices.length === 0
      ? `    ${pattern}) COMPREPLY=($(compgen -f -- "$cur")); return ;;`
      : `    ${pattern}) COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$cur")); return ;;`,
  );
  return `# Completion of ${root.name} for bash. Put it where bash looks for such, or: source <(${root.name} completion bash)
_${root.name}() {
  local cur prev at words word i
  cur="\${COMP_WORDS[COMP_CWORD]}"
  prev="\${COMP_WORDS[COMP_CWORD-1]}"
  at=""
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$at/$word" in
      ${pathsOf(root)}) at="$at/$word" ;;
    esac
  done
  case "$at $prev" in
${values.join("\n")}
  esac
  words=""
  case "$at" in
${words.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _${root.name} ${root.name}`;
}

function zshScript(root: CommandWord): string {
  const described = (word: string, help: string): string =>
    quoted(`${word.replaceAll(":", "\\:")}:${help}`);
  const cases = flatten(root).map(({ path, children, flags }) => {
    const commands = children.map(({ name, help }) => described(name, help));
    const options = flags.flatMap(({ words, help }) => words.map((word) => described(word, help)));
    return `    "${path}") commands=(${commands.join(" ")}); options=(${options.join(" ")}) ;;`;
  });
  const values = valueCases(root).map(({ pattern, choices }) =>
    choices.length === 0
      ? `    ${pattern}) _files; return ;;`
      : `    ${pattern}) compadd -- ${choices.join(" ")}; return ;;`,
  );
  return `#compdef ${root.name}
# Completion of ${root.name} for zsh. Put it into a directory of $fpath as _${root.name}, or: source <(${root.name} completion zsh)
_${root.name}() {
  local at="" word i
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    case "$at/$word" in
      ${pathsOf(root)}) at="$at/$word" ;;
    esac
  done
  case "$at \${words[CURRENT-1]}" in
${values.join("\n")}
  esac
  case "$at" in
${cases.join("\n")}
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then
    _describe -o option options
  elif (( \${#commands} )); then
    _describe command commands
  else
    _files
  fi
}
if [[ "\${funcstack[1]}" == _${root.name} ]]; then
  _${root.name} "$@"
else
  compdef _${root.name} ${root.name}
fi`;
}

function fishScript(root: CommandWord): string {
  const lines = flatten(root).flatMap(({ path, children, flags }) => {
    const when = `-n ${quoted(`__${root.name}_at '${path}'`)}`;
    return [
      ...children.map(
        ({ name, help }) => `complete -c ${root.name} -f ${when} -a ${name} -d ${quoted(help)}`,
      ),
      ...flags.map(({ words, help, takesValue, choices }) => {
        const names = words.map((word) =>
          word.startsWith("--") ? `-l ${word.slice(2)}` : `-s ${word.slice(1)}`,
        );
        const value =
          choices.length > 0 ? ` -x -a ${quoted(choices.join(" "))}` : takesValue ? " -r" : "";
        return `complete -c ${root.name} ${when} ${names.join(" ")}${value} -d ${quoted(help)}`;
      }),
    ];
  });
  return `# Completion of ${root.name} for fish: ${root.name} completion fish > ~/.config/fish/completions/${root.name}.fish
function __${root.name}_at
    set -l at ""
    for word in (commandline -opc)[2..-1]
        switch "$at/$word"
            case ${pathsOf(root).split("|").map(quoted).join(" ")}
                set at "$at/$word"
        end
    end
    test "$at" = "$argv[1]"
end
${lines.join("\n")}`;
}

/** In single quotes, for all three shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("\\", "").replaceAll("'", "’").replaceAll("\n", " ")}'`;
}
