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
