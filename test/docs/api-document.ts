// The OpenAPI document as it is checked in: docs/openapi.json.
import { routesOf } from '../../core/api/app.ts';
import { openApiOf } from '../../core/api/openapi.ts';
import { rawRoutesOf } from '../../core/api/raw.ts';
import { packageVersion } from '../../core/cli/version.ts';
import { withPlane } from '../unit/control/fixture.ts';

/** The text of docs/openapi.json. Ends with a newline. */
export async function renderApiDocument(): Promise<string> {
  let text = '';
  await withPlane((plane) => {
    const document = openApiOf(
      routesOf(plane),
      rawRoutesOf(plane, () => undefined),
      packageVersion(),
    );
    text = `${JSON.stringify(document, null, 1)}\n`;
    return Promise.resolve();
  });
  return text;
}
