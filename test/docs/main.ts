// `npm run docs`: writes docs/commands.md from the command table, and docs/openapi.json from the rows of the API.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../support/project.ts';
import { COMMANDS } from '../support/target.ts';
import { renderApiDocument } from './api-document.ts';
import { renderCommandReference } from './command-reference.ts';

writeFileSync(join(projectRoot, 'docs', 'commands.md'), renderCommandReference(COMMANDS));
writeFileSync(join(projectRoot, 'docs', 'openapi.json'), await renderApiDocument());
