// Completion in the real shells, and the man page in the real formatter.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { completionScript } from '../../../core/cli/completion.ts';
import { ERRORS } from '../../../core/base/errors.ts';
import { manPage } from '../../../core/cli/man-page.ts';
import { everyCommand, treeOf } from '../../../core/cli/command-tree.ts';
import { createProgram } from '../../../core/cli/program.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { needs } from '../../support/needs.ts';
import { runOk } from '../../support/process.ts';

const nobody = (): never => {
  throw new Error('completion asks nobody');
};
const program = createProgram(
  { client: nobody, print: () => undefined, readStdin: () => '', width: undefined },
  '1.2.3',
);
const tree = treeOf(program);
const namesIn = (path: string): string[] =>
  everyCommand(tree)
    .find((each) => each.path === path)!
    .children.map(({ name }) => name);

/** What the shell offers at the end of `words`. */
type Completer = (...words: string[]) => Promise<string[]>;

async function inShell(shell: 'bash' | 'zsh' | 'fish', body: (complete: Completer) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('completion');
  try {
    const file = join(folder.path, 'script');
    writeFileSync(file, completionScript(program, shell));
    const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(' ');
    const lines: Record<typeof shell, (words: readonly string[]) => string> = {
      bash: (words) =>
        `source ${file}; COMP_WORDS=(gemel ${quoted(words)}); COMP_CWORD=${String(words.length)}; _gemel; printf '%s\\n' "\${COMPREPLY[@]}"`,
      // compadd exists within the line editor only; what it is given is what is offered.
      zsh: (words) =>
        `compdef() { }; compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- "$@" }; _files() { print files }; ` +
        `source ${file}; words=(gemel ${quoted(words)}); CURRENT=$#words; _gemel`,
      fish: (words) => `source ${file}; complete -C ${quoted([['gemel', ...words].join(' ')])}`,
    };
    await body(async (...words) => {
      const flags = { bash: ['--norc', '-c'], zsh: ['-f', '-c'], fish: ['--no-config', '-c'] }[shell];
      const { stdout, stderr } = await runOk(shell, [...flags, lines[shell](words)], {
        cwd: folder.path,
        env: { HOME: folder.path },
      });
      assert.equal(stderr, '');
      const offered = stdout.split('\n').map((line) => line.split('\t')[0] ?? '');
      return offered.filter((line) => line !== '' && (words.at(-1) === '' || line.startsWith(words.at(-1) ?? '')));
    });
  } finally {
    folder.remove();
  }
}

for (const shell of ['bash', 'zsh', 'fish'] as const) {
  describe(`completion in ${shell}`, { skip: needs(shell, shell) }, () => {
    it('offers nouns, verbs, options and their values', async () => {
      await inShell(shell, async (complete) => {
        const sorted = async (...words: string[]): Promise<string[]> => (await complete(...words)).sort();
        assert.deepEqual(await sorted(''), namesIn('').sort());
        assert.deepEqual(await sorted('volume', ''), namesIn('volume').sort());
        assert.deepEqual(await sorted('volume', 're'), ['release', 'reopen', 'replicas', 'resize', 'restore']);
        assert.ok((await complete('volume', 'create', 'x', '--')).includes('--durability'));
        assert.ok((await complete('volume', 'list', '--')).includes('--json'));
        assert.ok(!(await complete('volume', 'list', '--')).includes('--durability'));
        assert.deepEqual(await sorted('volume', 'create', 'x', '--durability', ''), ['durable', 'mirrored-ram', 'volatile']);
        assert.deepEqual(await sorted('completion', ''), ['bash', 'fish', 'zsh']);
      });
    });

    it('does not take the value of an option for a command', async () => {
      await inShell(shell, async (complete) => {
        assert.deepEqual((await complete('--context', 'pool', 'volume', 'res')).sort(), ['resize', 'restore']);
        assert.deepEqual(await complete('volume', 'create', '--size', '1G', '--pool', ''), []);
      });
    });
  });
}

describe('the man page', { skip: needs('groff', 'groff') }, () => {
  it('is formatted without a warning and names every command, option and exit status', async () => {
    const folder = temporaryFolder('man');
    try {
      const file = join(folder.path, 'gemel.1');
      writeFileSync(file, manPage(program, '1.2.3'));
      const { stdout, stderr } = await runOk('groff', ['-ww', '-man', '-Tascii', '-P-cbou', file]);
      assert.equal(stderr, '');
      const text = stdout.replaceAll(/\s+/g, ' ');
      for (const { path, children, options } of everyCommand(tree)) {
        if (children.length === 0) assert.ok(text.includes(` gemel ${path} `), path);
        for (const { flags } of options) for (const flag of flags) assert.ok(text.includes(flag), `${path} ${flag}`);
      }
      for (const code of Object.keys(ERRORS)) assert.ok(text.includes(`${code}: `), code);
    } finally {
      folder.remove();
    }
  });
});
