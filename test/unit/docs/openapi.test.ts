import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { ERRORS } from '../../../core/base/errors.ts';
import { renderApiDocument } from '../../docs/api-document.ts';
import { projectRoot } from '../../support/project.ts';

interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, { readonly 'x-problem-codes'?: readonly string[] }>>;
}

describe('docs/openapi.json', () => {
  it('is what the API serves', async () => {
    const checkedIn = readFileSync(join(projectRoot, 'docs', 'openapi.json'), 'utf8');
    assert.ok(checkedIn === (await renderApiDocument()), 'docs/openapi.json is stale: npm run docs');
  });

  it('is OpenAPI 3.1, says so to a validator, and names each operation and code once and rightly', async () => {
    const text = await renderApiDocument();
    const document = JSON.parse(text) as {
      openapi: string;
      components: { schemas: Record<string, object> };
      paths: Record<string, Record<string, Operation>>;
    };
    const result = await new Validator().validate(JSON.parse(text) as Record<string, unknown>);
    assert.ok(result.valid, JSON.stringify(result.errors, null, 1));
    assert.match(document.openapi, /^3\.1\./);
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    const ids = operations.map(({ operationId }) => operationId);
    assert.equal(new Set(ids).size, ids.length, ids.join(' '));
    for (const { operationId, responses } of operations) {
      for (const [status, { 'x-problem-codes': codes = [] }] of Object.entries(responses)) {
        for (const code of codes) {
          assert.equal(
            String((ERRORS as Record<string, { http: number }>)[code]?.http),
            status,
            `${operationId} ${code}`,
          );
        }
      }
    }
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      assert.ok(document.components.schemas[name], name);
    }
    assert.ok(document.components.schemas['VolumePage']);
  });
});
