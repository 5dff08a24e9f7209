// `npm run docs`: writes docs/commands.md from the command table.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../support/project.ts';
import { COMMANDS } from '../support/target.ts';
import { renderCommandReference } from './command-reference.ts';

writeFileSync(join(projectRoot, 'docs', 'commands.md'), renderCommandReference(COMMANDS));
