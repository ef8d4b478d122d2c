import type { Command } from 'commander'
import { usage, type Register } from '../command.ts'

/** What may follow a command: its subcommands and long options, each with its description. */
interface Words {
  /** `coherence backfill tests` */
  readonly path: string
  readonly words: readonly { word: string; description: string }[]
}

const SHELLS: Readonly<Record<string, { script: (commands: readonly Words[]) => string; how: string }>> = {
  bash: {
    script: bashScript,
    how: 'coherence completion bash \\\n    > ~/.local/share/bash-completion/completions/coherence',
  },
  zsh: { script: zshScript, how: 'coherence completion zsh > "${fpath[1]}/_coherence"' },
  fish: { script: fishScript, how: 'coherence completion fish > ~/.config/fish/completions/coherence.fish' },
}

export const completionCommand: Register = (command, bind) => {
  command
    .argument('<shell>', Object.keys(SHELLS).join(', '))
    .addHelpText(
      'after',
      `\n${Object.values(SHELLS)
        .map(({ how }) => `  ${how}`)
        .join('\n')}`,
    )
    .action(
      bind(async ({ output }, shell: string) => {
        if (!Object.hasOwn(SHELLS, shell))
          throw usage(`completion is for ${Object.keys(SHELLS).join(', ')}, not ${JSON.stringify(shell)}.`)
        const program = command.parent!
        const script = SHELLS[shell].script(listWords(program, program.name()))
        output.result({ shell, script }, () => script)
      }),
    )
}

function listWords(command: Command, path: string): Words[] {
  const help = command.createHelp()
  const subcommands = help.visibleCommands(command)
  const words = [
    ...subcommands.map((child) => ({ word: child.name(), description: child.description() })),
    ...help.visibleOptions(command).map(({ long, description }) => ({ word: long ?? '', description })),
  ].filter(({ word }) => word !== '')
  return [{ path, words }, ...subcommands.flatMap((child) => listWords(child, `${path} ${child.name()}`))]
}

function bashScript(commands: readonly Words[]): string {
  return `# Completion of coherence for bash, from its own help.
_coherence() {
  local word at=coherence
  local -A words=(
${commands.map(({ path, words }) => `    ["${path}"]="${words.map(({ word }) => word).join(' ')}"`).join('\n')}
  )
  local typed=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
  # The longest command typed so far; arguments and options are passed over.
  for word in "\${typed[@]}"; do
    [[ -n "\${words["$at $word"]:-}" ]] && at="$at $word"
  done
  COMPREPLY=($(compgen -W "\${words["$at"]}" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _coherence coherence`
}

function zshScript(commands: readonly Words[]): string {
  // In single quotes; a colon ends the word before its description.
  const described = ({ word, description }: Words['words'][number]) =>
    `'${word}:${description.replaceAll("'", '’').replaceAll(':', '\\:')}'`
  return `#compdef coherence
# Completion of coherence for zsh, from its own help.
local word at=coherence
local -A known
known=(${commands.map(({ path }) => `'${path}' 1`).join(' ')})
for word in "\${(@)words[2,CURRENT-1]}"; do
  [[ -n "\${known[$at $word]}" ]] && at="$at $word"
done
local -a candidates
case "$at" in
${commands.map(({ path, words }) => `  '${path}') candidates=(${words.map(described).join(' ')}) ;;`).join('\n')}
esac
_describe coherence candidates || _files`
}

function fishScript(commands: readonly Words[]): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  const lines = commands.flatMap(({ path, words }) => {
    const [, ...names] = path.split(' ')
    const children = words.filter(({ word }) => !word.startsWith('-')).map(({ word }) => word)
    const seen = names.map((name) => `__fish_seen_subcommand_from ${name}`)
    const condition = [
      ...seen,
      ...(children.length > 0 ? [`not __fish_seen_subcommand_from ${children.join(' ')}`] : []),
    ].join('; and ')
    return words.map(({ word, description }) => {
      const what = word.startsWith('-') ? `-l ${word.slice(2)}` : `-a ${word}`
      return `complete -c coherence -n ${quote(condition)} ${what} -d ${quote(description)}`
    })
  })
  return `# Completion of coherence for fish, from its own help.\n${lines.join('\n')}`
}
