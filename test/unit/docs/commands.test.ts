import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { renderCommandReference } from '../../docs/command-reference.ts';
import { projectRoot } from '../../support/project.ts';
import { COMMANDS } from '../../support/target.ts';

test('docs/commands.md says what the command table says (npm run docs)', () => {
  assert.equal(readFileSync(join(projectRoot, 'docs', 'commands.md'), 'utf8'), renderCommandReference(COMMANDS));
});

/** `READ (10)`, `EXTENDED COPY (LID1)` and `SANITIZE, OVERWRITE` without what stands behind the name. */
const baseOf = (name: string): string => name.replace(/( \((LID)?\d+\))?(,.*)?$/, '');

test('clauses: chapters of commands are in alphabetical order, and no two commands share a clause', () => {
  const numbered = COMMANDS.specs.map((spec) => {
    const [standard = '', clause = ''] = spec.clause.split(' ');
    assert.match(clause, /^\d+\.\d+(\.\d+)*$/, spec.name);
    return { standard, name: spec.name, clause: clause.split('.').map(Number) };
  });
  for (const a of numbered) {
    for (const b of numbered) {
      const [x, y] = [baseOf(a.name), baseOf(b.name)];
      if (a.standard !== b.standard || a.clause[0] !== b.clause[0] || x >= y) continue;
      const said = `${a.name} ${a.clause.join('.')}, ${b.name} ${b.clause.join('.')} of ${a.standard}`;
      assert.ok((a.clause[1] ?? 0) < (b.clause[1] ?? 0), said);
    }
  }
  // The sizes of one command have clauses of their own.
  const sized = numbered.filter((each) => each.name.includes(' ('));
  assert.equal(new Set(sized.map((each) => `${each.standard} ${each.clause.join('.')}`)).size, sized.length);
});
